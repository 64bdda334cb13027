orrery campaign --recipe tests/data/input/recipe-bad.toml
