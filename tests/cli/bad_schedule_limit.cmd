orrery schedule --kind zb-h1 --pp 2 --microbatches 4 --memory-limit 0.3 --search --effort 100
