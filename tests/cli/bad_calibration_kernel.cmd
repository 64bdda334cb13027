orrery simulate --model deepseek-v2-lite --cluster h800-64 --layout pp=2 --calibration tests/data/input/bad-calibration.toml
