orrery simulate --model deepseek-v3 --cluster h800-2048 --layout pp=16,ep=64 --stage-map "E | 3d,1t | 4t x 13 | 5t,m,L"
