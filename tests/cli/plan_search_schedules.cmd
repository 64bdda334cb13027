# Schedules of the two best plans, searched: the better of them comes first.
orrery plan --model deepseek-v2-lite --cluster h800-64 --global-batch 256 --fix pp=4,tp=1,cp=1,mbs=1 --schedule dualpipe --search-schedule 2 --effort 2000 --finalists 3 --top 3
