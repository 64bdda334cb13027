# Kernels measured on an H200 become rows of its calibration.
orrery calibrate cuda --measured reports/measured/h200-kernels-2026-11-27.json -o h200.toml
