orrery realrun tests/data/input/host-plan-zero.json --steps 1
