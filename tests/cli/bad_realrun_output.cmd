orrery realrun tests/data/input/host-plan.json --steps 1 -o no-such-folder/measured.json
