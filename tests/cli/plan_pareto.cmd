# Every trade between step time, GPU-hours, free memory and the number of GPUs.
orrery plan --model deepseek-v2-lite --cluster h800-64 --global-batch 1024 --tokens 5.7T --gpus 32,64 --pareto --fix tp=1,cp=1
