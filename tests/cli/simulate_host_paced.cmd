orrery simulate tests/data/input/host-plan.json --pace 10
