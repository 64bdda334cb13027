orrery schedule --help
