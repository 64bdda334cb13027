orrery plan --model tiny-moe --cluster host-4 --seq 128 --global-batch 32 --fix precision=bf16 --fix pp=4,ep=1
