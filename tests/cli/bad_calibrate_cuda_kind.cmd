# A timeline is no measured kernels.
orrery calibrate cuda --measured tests/data/input/kernels-not.json -o h200.toml
