orrery plan --model deepseek-v2-lite --cluster h800-64 --global-batch 1024 --gpus 16,32 --pareto --fix tp=1,cp=1,pp=4 --finalists 2 --json
