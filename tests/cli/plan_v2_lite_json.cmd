orrery plan --model deepseek-v2-lite --cluster h800-64 --global-batch 1024 --fix pp=4 --json
