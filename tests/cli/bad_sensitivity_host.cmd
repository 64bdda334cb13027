orrery simulate --model tiny-moe --cluster host-4 --calibration host.toml --layout pp=2,ep=2 --schedule 1f1b --seq 128 --global-batch 32 --sensitivity
