orrery schedule --kind gpipe --pp 4 --microbatches 8 --memory-limit 4
