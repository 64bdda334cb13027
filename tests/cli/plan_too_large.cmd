orrery plan --model llama-3-405b --cluster h100-1024 --seq 8192 --global-batch 2048 --fix pp=128,tp=2,cp=4,mbs=1,precision=fp8,recompute=none,zero=1 --schedule zb-h1 --top 1 --finalists 1
