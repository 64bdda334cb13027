orrery campaign --recipe tests/data/input/recipe-small.toml --fix pp=4,tp=1,etp=1,mbs=1,recompute=selective,precision=fp8,optimizer=gpu,ema=cpu
