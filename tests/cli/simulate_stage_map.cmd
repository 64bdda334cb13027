orrery simulate --model deepseek-v3 --cluster h800-2048 --layout pp=16,ep=64 --stage-map "E,3d | 4t x 14 | 2t,m,L" --global-batch 4096
