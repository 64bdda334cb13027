orrery plan --model deepseek-v2-lite --cluster h800-64 --global-batch 256 --fix pp=4,ep=8 --schedule dualpipe --search-schedule --effort 5000 --json
