orrery plan --model deepseek-v2-lite --cluster h800-64 --global-batch 1024 --tokens 5.7T --why pp=8,ep=64
