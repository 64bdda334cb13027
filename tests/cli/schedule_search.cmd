orrery schedule --kind dualpipe --pp 4 --microbatches 8 --search --effort 2000
