orrery plan --model tiny-moe --cluster host-4 --seq 128 --global-batch 32 --fix zero=2
