#!/usr/bin/env bash
# The whole loop on this machine, in about a minute: plans a small model, predicts its step with the
# calibration that ships (another machine's), carries the plan out for real, compares; then measures
# this machine, predicts again, and shows the error before and after.
#
#   scripts/loop.sh [OPTION...]    further options go to `orrery plan`, e.g. --fix pp=4,ep=1
#
#   MODEL    tiny-moe     CLUSTER  host-4     what is planned: models/, topologies/host-*
#   STEPS    40                               training steps of the real run
#   FOLDER   build/loop                       plan, timelines, loads and calibration stay there
#
# Answers go to stdout, progress to stderr.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

model=${MODEL:-tiny-moe}
cluster=${CLUSTER:-host-4}
steps=${STEPS:-40}
folder=${FOLDER:-build/loop}
orrery=build/release/orrery

say() { printf '\n==> %s\n' "$*"; }

run() {
  printf '\n$ %s\n' "$*"
  "$@" </dev/null
}

scripts/bootstrap.sh
scripts/build.sh release orrery
mkdir -p "$folder"

say "plan, with the calibration that ships: $(sed -n 's/^machine = //p' calibration/host.toml)"
run "$orrery" plan --model "$model" --cluster "$cluster" --seq 128 --global-batch 32 \
  "$@" -o "$folder/plan.json"

say "predict, carry out, compare"
run "$orrery" simulate "$folder/plan.json" -o "$folder/before.json"
run "$orrery" realrun "$folder/plan.json" --steps "$steps" --loads "$folder/loads.json" \
  -o "$folder/measured.json"
run "$orrery" compare "$folder/before.json" "$folder/measured.json"

say "calibrate this machine, predict again, compare"
run "$orrery" calibrate host --models "$model" --seq 128 -o "$folder/host.toml"
run "$orrery" simulate "$folder/plan.json" --calibration "$folder/host.toml" \
  --loads "$folder/loads.json" -o "$folder/after.json"
run "$orrery" compare "$folder/after.json" "$folder/measured.json"

say "error before and after"
python3 - "$orrery" "$folder" <<'PYTHON'
import json
import subprocess
import sys

orrery, folder = sys.argv[1:]
print(f"\n  {'':<32}{'predicted, ms':>14}{'measured, ms':>14}{'step':>9}{'at its speed':>15}{'worst wait':>12}")
for name, file in (("before: calibration that ships", "before"), ("after: of this machine", "after")):
    command = [orrery, "compare", f"{folder}/{file}.json", f"{folder}/measured.json", "--json"]
    result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    print(f"  {name:<32}{1e3 * result['predicted_s']:>14.1f}{1e3 * result['measured_s']:>14.1f}"
          f"{100 * result['error']:>+7.1f} %{100 * result['machine']['error']:>+13.1f} %"
          f"{100 * result['worst_wait_error']:>10.1f} %")
steps = sorted(result["measured_steps_s"])
low, high = steps[len(steps) // 10], steps[(len(steps) - 1) * 9 // 10]
print(f"\n  step: error of the step's time; at its speed: of the prediction for the speed that the machine"
      f"\n  had in that step; worst wait: of all ranks, over the step; the measured steps themselves range"
      f"\n  from {1e3 * low:.1f} to {1e3 * high:.1f} ms (p10 to p90 of {len(steps)})")
PYTHON
