orrery realrun tests/data/input/plan-small.json --mode cuda-replay --rank 0 --arrivals tests/data/input/host-predicted.json
