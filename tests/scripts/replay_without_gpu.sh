#!/usr/bin/env bash
# replay_without_gpu.sh ORRERY: everything that a replay needs, up to the GPU.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$1" plan --model deepseek-v2-lite --cluster h800-64 --global-batch 256 --fix pp=4,ep=8,tp=1 --schedule dualpipe --top 1 \
  -o "$folder/plan.json" > /dev/null
"$1" simulate "$folder/plan.json" -o "$folder/predicted.json" > /dev/null
"$1" realrun "$folder/plan.json" --mode cuda-replay --rank 1 --arrivals "$folder/predicted.json" --pairs 2
