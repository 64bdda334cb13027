orrery calibrate host --help
