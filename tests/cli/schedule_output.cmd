orrery schedule --kind zb-h1 --pp 2 --microbatches 3 -o -
