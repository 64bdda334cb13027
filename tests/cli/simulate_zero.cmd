orrery simulate --model llama-3-70b --cluster h100-128 --layout pp=2,tp=8,precision=bf16,zero=3 --schedule 1f1b --global-batch 128 --memory
