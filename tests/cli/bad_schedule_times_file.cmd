orrery schedule --kind dualpipe --pp 2 --microbatches 4 --times-file tests/data/input/two-stages.json
