# A plan's layout is its own.
orrery campaign tests/data/input/plan-small.json --tokens 1T --fix pp=2
