orrery realrun tests/data/input/plan-small.json --mode cuda-replay --rank 7
