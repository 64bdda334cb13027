orrery realrun tests/data/input/host-plan.json --mode gpu
