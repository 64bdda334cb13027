orrery compare tests/data/input/host-measured.json tests/data/input/host-predicted.json
