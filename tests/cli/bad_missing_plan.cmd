orrery simulate nothing.json
