orrery simulate --model deepseek-v2-lite --cluster h800-64 --layout pp=4,ep=8,tp=2,recompute=none --global-batch 64 --schedule zb-h1 --stage-map "E | 1d,13t | 13t | L" --memory
