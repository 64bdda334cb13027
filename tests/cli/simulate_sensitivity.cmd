orrery simulate --model deepseek-v2-lite --cluster h800-64 --layout pp=4,ep=8 --schedule dualpipe --global-batch 256 --tokens 1T --sensitivity
