orrery plan --model tiny-moe --cluster host-4 --pareto
