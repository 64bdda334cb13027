orrery realrun tests/data/input/host-plan.json --mode cuda-replay --arrivals tests/data/input/host-predicted.json
