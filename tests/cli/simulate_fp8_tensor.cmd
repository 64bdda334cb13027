# FP8 with one scale a tensor: weights cast once a step, operands gathered in FP8.
orrery simulate --model llama-3-70b --cluster h100-128 --layout pp=4,tp=8,precision=fp8-tensor,recompute=none --schedule 1f1b --global-batch 64
