orrery simulate --model deepseek-v2-lite --cluster h800-64 --layout pp=4,vpp=8,recompute=none --global-batch 64 --schedule interleaved
