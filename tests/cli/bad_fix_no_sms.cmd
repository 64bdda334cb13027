orrery plan --model deepseek-v2-lite --cluster h800-64 --fix comm-sms=0
