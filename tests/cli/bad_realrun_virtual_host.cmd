orrery realrun tests/data/input/host-plan.json --mode cuda-virtual --simulated-device h200
