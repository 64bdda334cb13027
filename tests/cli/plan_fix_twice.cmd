orrery plan --model tiny-moe --cluster host-4 --seq 128 --global-batch 32 --fix pp=4 --fix ep=1
