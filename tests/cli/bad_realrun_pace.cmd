orrery realrun tests/data/input/host-plan.json --pace 2 --calibration h800
