orrery campaign tests/data/input/plan-small.json --tokens 1T --checkpoint-every soon
