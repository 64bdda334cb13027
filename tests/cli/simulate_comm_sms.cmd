orrery simulate --model deepseek-v3 --cluster h800-2048 --layout pp=16,ep=128,comm-sms=24 --global-batch 4096 --fidelity analytic
