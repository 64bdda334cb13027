orrery topology show h800-65536 --json
