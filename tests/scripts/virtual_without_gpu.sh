#!/usr/bin/env bash
# virtual_without_gpu.sh ORRERY: everything that a virtual run needs, up to the GPU.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$1" plan --model micro-moe --cluster h200-8 --seq 64 --global-batch 16 --fix pp=2,ep=2,tp=1,cp=1,mbs=1 --schedule 1f1b \
  --top 1 -o "$folder/plan.json" > /dev/null
"$1" realrun "$folder/plan.json" --mode cuda-virtual
