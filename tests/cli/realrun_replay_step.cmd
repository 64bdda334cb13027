# The whole step of a rank without pairs, with the kernels that it was predicted with.
orrery plan --model deepseek-v2-lite --cluster h800-64 --global-batch 64 --fix pp=4,ep=8,tp=1 --schedule 1f1b --top 1 -o plan.json > plan.txt && orrery simulate plan.json -o predicted.json > simulated.txt && orrery realrun plan.json --mode cuda-replay --rank 1 --arrivals predicted.json --simulated-device h800
