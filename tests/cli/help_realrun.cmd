orrery realrun --help
