# Where nothing fits on any number of GPUs.
orrery plan --model deepseek-v3 --cluster h800-64 --gpus 32,64 --pareto --fix optimizer=gpu,pp=16
