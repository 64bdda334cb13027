orrery simulate --model deepseek-v3 --cluster h800-64 --layout pp=16,ep=64,tp=8
