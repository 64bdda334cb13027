orrery schedule --kind 1f1b --pp 4 --microbatches 8 --times F=1,B=2,W=x
