orrery plan --model deepseek-v2-lite --cluster h800-64 --global-batch 256 --fix pp=4,tp=1,cp=1,ep=8,mbs=1 --schedule dualpipe --search-schedule --effort 2000 --top 1 --json
