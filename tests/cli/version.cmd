orrery --version
