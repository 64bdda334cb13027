orrery simulate tests/data/input/bad/plan-no-such-microbatch.json
