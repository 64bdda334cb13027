orrery simulate tests/data/input/host-plan.json --loads tests/data/input/loads-empty.json
