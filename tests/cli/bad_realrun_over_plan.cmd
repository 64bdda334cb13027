orrery realrun tests/data/input/host-plan.json --steps 1 -o tests/data/input/../input/host-plan.json
