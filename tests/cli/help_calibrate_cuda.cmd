orrery calibrate cuda --help
