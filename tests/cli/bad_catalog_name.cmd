orrery catalog show h900
