orrery plan --model deepseek-v2-lite --cluster h800-64 --global-batch 1024 --fix tp=1,cp=1,etp=1,precision=fp8 --top 2 --finalists 2 --why pp=4,schedule=dualpipe
