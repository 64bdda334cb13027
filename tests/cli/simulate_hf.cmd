orrery simulate --model tests/data/input/deepseek-v3-config.json --cluster h800-2048 --layout pp=16,ep=64 --global-batch 4096
