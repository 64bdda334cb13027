orrery plan --model deepseek-v3 --cluster h800-2048 --fix "pp=16, dp=64"
