orrery realrun tests/data/input/host-plan.json --steps 1 -o same.json --loads same.json
