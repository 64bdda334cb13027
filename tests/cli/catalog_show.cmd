orrery catalog show h800-64
