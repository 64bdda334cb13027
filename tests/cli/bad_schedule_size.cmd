orrery schedule --kind 1f1b --pp 4
