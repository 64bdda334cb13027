orrery calibrate host --models tiny-moe --seq 64 --steps 1 -o no-such-folder/host.toml
