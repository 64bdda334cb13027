# The H800's tables are complete; another device's cannot be mixed into them.
orrery calibrate cuda --measured reports/measured/h200-kernels-2026-11-27.json --device h800 -o h200.toml
