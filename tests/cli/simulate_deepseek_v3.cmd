orrery simulate --model deepseek-v3 --cluster h800-2048 --layout pp=16,ep=64 --schedule dualpipe --tokens 14.8T
