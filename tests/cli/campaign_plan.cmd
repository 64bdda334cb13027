orrery campaign tests/data/input/plan-small.json --tokens 1T --checkpoint-every '2 h' --runs 200
