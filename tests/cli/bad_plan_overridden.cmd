orrery simulate tests/data/input/plan-small.json --layout pp=8 --stage-map zzz
