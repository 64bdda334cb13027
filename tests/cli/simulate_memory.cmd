orrery simulate --model deepseek-v2-lite --cluster h800-64 --layout pp=4,ep=8,optimizer=cpu,ema=gpu,recompute=attention --schedule 1f1b --global-batch 256 --memory
