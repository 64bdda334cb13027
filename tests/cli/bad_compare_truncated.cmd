orrery compare tests/data/input/host-predicted.json tests/data/input/timeline-cut.json
