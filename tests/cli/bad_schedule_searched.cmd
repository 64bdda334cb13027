orrery schedule --kind searched --pp 4 --microbatches 8
