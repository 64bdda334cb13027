orrery simulate --model deepseek-v3 --cluster h800-2048
