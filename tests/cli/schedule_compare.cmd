orrery schedule --compare all --pp 4 --microbatches 6 --times F=1,I=1,W=1,FB=2.6 --effort 2000
