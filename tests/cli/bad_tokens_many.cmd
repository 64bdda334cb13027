orrery simulate tests/data/input/plan-small.json --tokens 1e30
