orrery calibrate cuda --measured tests/data/input/kernels-negative.json -o h200.toml
