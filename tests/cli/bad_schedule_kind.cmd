orrery schedule --kind dualpip --pp 4 --microbatches 8
