orrery simulate --model deepseek-v3 --cluster h800-2048 --layout pp=16,ep=64 --skew zipf=0.2 --experts balanced=1
