orrery plan --model deepseek-v2-lite --cluster h800-64 --tokens 0
