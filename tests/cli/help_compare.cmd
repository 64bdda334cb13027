orrery compare --help
