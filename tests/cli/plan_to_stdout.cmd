orrery plan --model deepseek-v2-lite --cluster h800-64 --global-batch 256 --fix pp=2,ep=8 --schedule 1f1b -o -
