orrery simulate
