# What-ifs and the moment of every peak for machines.
orrery simulate --model deepseek-v2-lite --cluster h800-64 --layout pp=4,ep=8 --schedule 1f1b --global-batch 256 --memory --json | python3 -c "import json,sys; d=json.load(sys.stdin); print(json.dumps([d[k] for k in ('memory_peaks','memory_what_ifs')],indent=1))"
