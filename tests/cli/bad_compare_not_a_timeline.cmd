orrery compare tests/data/input/host-plan.json tests/data/input/host-measured.json
