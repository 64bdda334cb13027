orrery simulat
