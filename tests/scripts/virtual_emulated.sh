#!/usr/bin/env bash
# virtual_emulated.sh ORRERY: a virtual run on the emulated GPU beside ORRERY, from plan to comparison. Every kernel of
# training runs; the ladder of the one step holds. Its times mean nothing and are not looked at.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$1" plan --model micro-moe --cluster h200-8 --calibration h200 --seq 32 --global-batch 16 --schedule dualpipe --top 1 \
  --fix pp=2,ep=2,tp=1,cp=1,mbs=1,zero=1,recompute=selective,comm-sms=20,precision=bf16 -o "$folder/plan.json" > /dev/null
"$1" simulate "$folder/plan.json" -o "$folder/predicted.json" > /dev/null
"$1" realrun "$folder/plan.json" --mode cuda-virtual --steps 1 --seed 2 -o "$folder/measured.json" | tee "$folder/run.txt"
grep -q 'emulated on the host' "$folder/run.txt"
grep -Eq 'gradients of the first step +within 1 %.*pass' "$folder/run.txt"
"$1" compare "$folder/predicted.json" "$folder/measured.json" > "$folder/compared.txt"
grep -q 'co-scheduled pair' "$folder/compared.txt"
grep -q 'router' "$folder/compared.txt"
