orrery compare tests/data/input/host-predicted.json tests/data/input/host-measured.json --limit 3
