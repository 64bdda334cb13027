orrery topology show h800-2048
