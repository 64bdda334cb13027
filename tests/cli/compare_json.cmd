orrery compare tests/data/input/host-predicted.json tests/data/input/host-measured.json --json
