orrery plan --model deepseek-v3 --cluster h800-2048 --fix exchange=nccl,weights=inline
