orrery --help
