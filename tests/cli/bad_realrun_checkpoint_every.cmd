orrery realrun tests/data/input/host-plan.json --steps 1 --checkpoint-every 5
