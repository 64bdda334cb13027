orrery schedule --compare all --pp 4 --microbatches 8 --draw --search
