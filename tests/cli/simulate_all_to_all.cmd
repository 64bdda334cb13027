# Megatron-Core's dispatcher alltoall, weight gradients in autograd's order.
orrery simulate --model deepseek-v2-lite --cluster h800-64 --layout pp=4,ep=8,precision=bf16,exchange=nccl,weights=inline --schedule 1f1b --global-batch 512
