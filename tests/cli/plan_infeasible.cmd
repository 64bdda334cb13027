orrery plan --model deepseek-v3 --cluster h800-64 --fix pp=4,optimizer=gpu
