orrery schedule --kind zb-v --pp 2 --microbatches 4 --times F=1,I=1.2,W=0.6,comm=0.1 --json
