orrery realrun tests/data/input/host-plan.json --corpus nothing.txt
