orrery schedule --kind 1f1b --pp 2 --microbatches 4 --times-file tests/data/input/two-stages.json --draw
