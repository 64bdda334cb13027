orrery calibrate cuda --measured no-such-file.json -o h200.toml
