orrery schedule --kind interleaved --pp 4 --microbatches 6
