orrery plan --model tiny-moe --cluster host-4 --seq 128 --global-batch 32 --why pp=2,,ep=1
