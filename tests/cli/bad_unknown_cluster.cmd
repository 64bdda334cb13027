orrery simulate --model deepseek-v3 --cluster h800-2047 --layout pp=16,ep=64
