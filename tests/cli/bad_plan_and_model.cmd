orrery simulate plan.json --model deepseek-v3
