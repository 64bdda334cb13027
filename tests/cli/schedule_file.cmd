orrery schedule --file tests/data/input/wrong-schedule.json
