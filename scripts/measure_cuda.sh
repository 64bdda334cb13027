#!/usr/bin/env bash
# Checks and measures the CUDA kernels and the run modes on the GPU of this machine, in one call.
#
#   scripts/measure_cuda.sh [-o FILE.json] [WHERE]    by the programs of WHERE, a folder or an archive that --pack wrote
#                                                     (default: build/release, built first)
#   scripts/measure_cuda.sh --pack FILE.tar.gz        collects them, with the libraries that a GPU machine may lack, to be
#                                                     carried there
#   --limit SECONDS       for all of it (default: 480). A stage gets what is left, at most its own limit; one that there is
#                         no time left for is named and left out
#   --archive FILE.tar.gz everything that was written, renewed after every stage: a call that is cut short leaves what it has
#   --no-replay           without the replay: where there is no FP8
#   --no-virtual          without the virtual runs
#
# Stages, in this order, with their limits in seconds; results are in FILE (default: build/measured/cuda-kernels.json) and beside it:
#
#   bench      120  every kernel's time (kernels/cuda/bench_report.hpp says what is in FILE); calibrated.toml is a calibration
#                   of it
#   checks      90  cuda_tests, in checks.txt
#   replay    2x80  chunk pairs of one rank of DeepSeek-V3's step in real time, compared with what calibration/h200.toml
#                   predicts and with what calibrated.toml does; products told to leave the SMs that communication holds, then
#                   told nothing: replay-*.json and replay-*.txt
#   virtual  3x120  all ranks of small plans in turn, beside the same training by the host's kernels in float, each compared
#                   with its prediction: virtual-*.json and virtual-*.txt. Seed 2, as in FP8 rounding alone is beyond 5 %
#                   with most others (realrun/README.md)
#   sanitizer  240  the checks that are not of time under compute-sanitizer's memcheck, where there is one: sanitizer.txt
#
# cuBLASLt, cuDNN and NVRTC are looked for in the toolkit and in the folders of Python packages. What fails in a stage is said
# and the next one goes on. Exit code 0: all checks passed and everything was measured; 1: not; 3: there is no GPU.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

say() { printf '==> %s\n' "$*" >&2; }

build() {
  scripts/build.sh release cuda_tests cuda_bench orrery orrery_cuda
}

pack() {
  local archive=$1 folder
  build
  folder=$(mktemp -d)
  cp build/release/tests/cuda_tests build/release/{cuda_bench,orrery,liborrery_cuda.so} "$folder"
  strip "$folder"/cuda_* "$folder"/orrery "$folder"/liborrery_cuda.so
  ldd "$folder"/cuda_* "$folder"/orrery "$folder"/liborrery_cuda.so | awk '/=> \//{print $3}' | sort -u |
    grep -vE '/lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|cublasLt|cudnn)\.so' |
    while read -r library; do cp -L "$library" "$folder"; done
  tar -czf "$archive.part" -C "$folder" .
  mv "$archive.part" "$archive"
  rm -rf "$folder"
  say "packed into $archive ($(du -h "$archive" | cut -f1)): run scripts/measure_cuda.sh $archive where the GPU is"
}

# At most so many seconds of what is left; nothing where that is too little to begin with.
seconds_for() {
  local left=$((limit - SECONDS))
  ((left >= 10)) || return 1
  printf '%d' $((left < $1 ? left : $1))
}

# stage SECONDS NAME COMMAND...: runs it and renews the archive.
stage() {
  local own=$1 name=$2 allowed code=0
  shift 2
  if ! allowed=$(seconds_for "$own"); then
    say "$name: left out, the $limit s are over"
    failed=1
    return 0
  fi
  say "$name, at most $allowed s"
  timeout "$allowed" "$@" || code=$?
  case $code in
    0) ;;
    124) say "$name: not through after $allowed s" ;;
    *) say "$name: FAILED (exit code $code)" ;;
  esac
  ((code == 0)) || failed=1
  if [[ -n $archive ]]; then
    tar -czf "$archive.part" -C "$into" . && mv "$archive.part" "$archive"
  fi
}

# What stages run, each in a shell of its own with ORRERY, TESTS and INTO, called by name.
# shellcheck disable=SC2317
bench() { # BENCH FILE
  "$1" "--out=$2"
  "$ORRERY" calibrate cuda --measured "$2" -o "$INTO/calibrated.toml" > /dev/null
}

# shellcheck disable=SC2317
checks() {
  "$TESTS" > "$INTO/checks.txt" 2>&1 || { local code=$?; tail -n 40 "$INTO/checks.txt"; return "$code"; }
  tail -n 3 "$INTO/checks.txt"
}

# shellcheck disable=SC2317
replay() { # left|all
  local plan=$INTO/replay-plan.json with
  if [[ ! -s $plan ]]; then
    "$ORRERY" plan --model deepseek-v3 --cluster h800-2048 --calibration h200 --schedule dualpipe --top 1 \
      --fix pp=16,ep=64,tp=1,cp=1,precision=fp8,recompute=selective,comm-sms=20,zero=1 -o "$plan" > /dev/null
    "$ORRERY" simulate "$plan" -o "$INTO/replay-predicted.json" > /dev/null
    [[ ! -s $INTO/calibrated.toml ]] ||
      "$ORRERY" simulate "$plan" --calibration "$INTO/calibrated.toml" -o "$INTO/replay-calibrated.json" > /dev/null
  fi
  # Rank 3: its two stages have four MoE layers each.
  "$ORRERY" realrun "$plan" --mode cuda-replay --rank 3 --pairs 4 --arrivals "$INTO/replay-predicted.json" \
    --product-sms "$1" -o "$INTO/replay-$1.json" > /dev/null
  for with in predicted calibrated; do
    [[ -s $INTO/replay-$with.json ]] || continue
    "$ORRERY" compare "$INTO/replay-$with.json" "$INTO/replay-$1.json" > "$INTO/replay-$1-$with.txt"
  done
  cat "$INTO/replay-$1-predicted.txt"
}

# shellcheck disable=SC2317
virtual() { # NAME FIX SCHEDULE
  local name=$INTO/virtual-$1 passed=0
  "$ORRERY" plan --model micro-moe --cluster h200-8 --calibration h200 --seq 256 --global-batch 16 --schedule "$3" --top 1 \
    --fix "tp=1,cp=1,mbs=1,zero=1,recompute=selective,comm-sms=20,$2" -o "$name-plan.json" > /dev/null
  "$ORRERY" simulate "$name-plan.json" -o "$name-predicted.json" > /dev/null
  "$ORRERY" realrun "$name-plan.json" --mode cuda-virtual --seed 2 -o "$name.json" | tee "$name.txt" || passed=$?
  if ((passed <= 1)); then
    "$ORRERY" compare "$name-predicted.json" "$name.json" | tee -a "$name.txt"
  fi
  return "$passed"
}

# shellcheck disable=SC2317
sanitizer() {
  local tool code=0
  tool=$(command -v compute-sanitizer || find /usr/local/cuda*/bin /opt -name compute-sanitizer -print -quit 2> /dev/null || true)
  if [[ -z $tool ]]; then
    echo "no compute-sanitizer here: accesses not checked"
    return 0
  fi
  # Checks of time fail under it: what counts is its own verdict.
  "$tool" --tool memcheck --error-exitcode 9 "$TESTS" "~[gpu]~[time]" > "$INTO/sanitizer.txt" 2>&1 || code=$?
  tail -n 3 "$INTO/sanitizer.txt"
  return "$code"
}

output=build/measured/cuda-kernels.json where='' limit=480 archive='' replays=yes virtuals=yes
while (($# > 0)); do
  case $1 in
    --pack)
      pack "$2"
      exit 0
      ;;
    -o)
      output=$2
      shift
      ;;
    --limit)
      limit=$2
      shift
      ;;
    --archive)
      archive=$2
      shift
      ;;
    --no-replay) replays= ;;
    --no-virtual) virtuals= ;;
    *) where=$1 ;;
  esac
  shift
done

unpacked=
trap '[[ -z $unpacked ]] || rm -rf "$unpacked"' EXIT
if [[ -z $where ]]; then
  build
  SECONDS=0
  TESTS=build/release/tests/cuda_tests BENCH=build/release/cuda_bench ORRERY=build/release/orrery
else
  if [[ -f $where ]]; then
    unpacked=$(mktemp -d)
    tar -xzf "$where" -C "$unpacked"
    where=$unpacked
  fi
  where=$(readlink -f "$where")
  TESTS=$where/cuda_tests BENCH=$where/cuda_bench ORRERY=$where/orrery
fi

libraries=${where:+$where:}
for name in libcublasLt.so.13 libcudnn.so.9 libnvrtc.so.13; do
  found=$(find / -name "$name" -not -path '/proc/*' -print -quit 2> /dev/null || true)
  [[ -n $found ]] && libraries+=$(dirname "$found"):
done
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:-}

# The programs say so with exit code 3.
gpu=0
"$TESTS" --list-test-names-only > /dev/null || gpu=$?
((gpu != 3)) || exit 3

into=$(dirname "$output")
mkdir -p "$into"
export TESTS ORRERY INTO=$into
export -f bench checks replay virtual sanitizer
run() { # SECONDS NAME FUNCTION ARGUMENTS...
  local own=$1 name=$2
  shift 2
  stage "$own" "$name" bash -euo pipefail -c '"$@"' _ "$@"
}

failed=0
run 120 "bench, into $output" bench "$BENCH" "$output"
run 90 checks checks
if [[ -n $replays ]]; then
  for told in left all; do
    run 80 "replay of 4 chunk pairs, --product-sms $told" replay "$told"
  done
fi
if [[ -n $virtuals ]]; then
  run 120 "virtual run, BF16, dualpipe" virtual bf16 pp=2,ep=2,precision=bf16 dualpipe
  run 120 "virtual run, FP8, dualpipe" virtual fp8 pp=2,ep=2,precision=fp8 dualpipe
  run 120 "virtual run, FP8, 1f1b" virtual 1f1b pp=2,ep=4,precision=fp8 1f1b
fi
run 240 sanitizer sanitizer
say "done in $SECONDS s"
exit "$failed"
