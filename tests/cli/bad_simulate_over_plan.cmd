# The plan that is read would be lost.
orrery simulate tests/data/input/plan-small.json -o tests/data/input/../input/plan-small.json
