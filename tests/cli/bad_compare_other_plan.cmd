orrery compare tests/data/input/host-other.json tests/data/input/host-measured.json
