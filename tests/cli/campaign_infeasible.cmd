orrery campaign --recipe tests/data/input/recipe-small.toml --fix pp=64
