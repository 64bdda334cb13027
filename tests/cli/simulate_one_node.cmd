orrery simulate --model deepseek-v2-lite --cluster tests/data/input/one-node.toml --layout pp=2,ep=4 --schedule 1f1b --global-batch 256
