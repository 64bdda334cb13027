#!/usr/bin/env bash
# From a fresh machine to the answer: installs what is missing, builds, and prices DeepSeek-V3's
# pre-training (14.8 T tokens) on 2048 H800 GPUs with DualPipe.
#
#   scripts/demo.sh [OPTION...]        further options go to `orrery simulate`, e.g. --json
#
# The answer goes to stdout, everything else to stderr. Minutes the first time, seconds after.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

scripts/bootstrap.sh
scripts/build.sh release orrery

command=(build/release/orrery simulate --model deepseek-v3 --cluster h800-2048 --layout 'pp=16,ep=64'
  --schedule dualpipe --tokens 14.8T "$@")
printf '==> %s\n' "${command[*]}" >&2
started=$SECONDS
"${command[@]}" </dev/null
printf '==> simulated in %d s\n' "$((SECONDS - started))" >&2
