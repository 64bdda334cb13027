orrery simulate --model deepseek-v3 --cluster h800-2048 --layout pp=8,ep=64 --schedule dualpipe
