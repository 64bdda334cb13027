orrery schedule --kind dualpipe --pp 8 --microbatches 20 --draw
