# Attention scores in memory: softmax and dropout pass over them, and they are kept until the backward.
orrery simulate --model gpt3-175b --cluster a100-512 --layout pp=8,tp=8,precision=bf16,recompute=attention,attention=unfused --schedule 1f1b --global-batch 64 --seq 2048
