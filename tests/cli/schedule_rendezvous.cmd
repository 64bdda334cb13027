orrery schedule --kind dualpipev --pp 2 --microbatches 6 --times F=1,I=1,W=1,comm=0.25 --p2p rendezvous
