orrery plan --help
