orrery schedule --kind 1f1b --pp 4 --microbatches 8 --chunks 3
