# The search has no unfused attention.
orrery plan --model llama-3-70b --cluster h100-128 --global-batch 64 --fix attention=unfused
