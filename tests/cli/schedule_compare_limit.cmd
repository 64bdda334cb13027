orrery schedule --compare all --pp 4 --microbatches 8 --memory-limit 1 --effort 500
