orrery realrun tests/data/input/host-plan.json --resume
