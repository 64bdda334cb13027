orrery simulate --model deepseek-v3 --cluster h800-2048 --layout pp=16,ep=64,exchange=nccl
