orrery simulate tests/data/input/plan-small.json -o same.json --report ./same.json
