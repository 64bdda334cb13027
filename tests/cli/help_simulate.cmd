orrery simulate --help
