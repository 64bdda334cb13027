orrery topology show h80-2048
