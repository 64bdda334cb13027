# A run of the benchmarks that ended after twenty kernels: all that is missing at once.
orrery calibrate cuda --measured tests/data/input/kernels-cut-short.json -o h200.toml
