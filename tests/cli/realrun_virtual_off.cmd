# Five layers in FP8 are too many for the ladder: what their casts make of roundings adds up.
orrery plan --model tiny-moe --cluster h200-8 --calibration h200 --seq 64 --global-batch 8 --fix pp=2,ep=2,tp=1,cp=1,mbs=1,recompute=selective,precision=fp8 --schedule 1f1b --top 1 -o plan.json > plan.txt && orrery realrun plan.json --mode cuda-virtual --steps 1 --simulated-device h200 > realrun.txt
