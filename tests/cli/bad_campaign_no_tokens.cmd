orrery campaign tests/data/input/plan-small.json
