orrery catalog list
