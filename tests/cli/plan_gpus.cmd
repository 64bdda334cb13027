# The best plans of two numbers of GPUs; not all GPU-hours are the same.
orrery plan --model deepseek-v2-lite --cluster h800-64 --global-batch 1024 --tokens 5.7T --gpus 32,64 --objective step-time --top 4 --fix tp=1,cp=1
