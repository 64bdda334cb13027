orrery simulate --model llama-3-70b --cluster h100-128 --layout pp=4,tp=8,precision=bf16,exchange=nccl --schedule 1f1b --global-batch 64
