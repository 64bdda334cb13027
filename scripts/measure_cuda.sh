#!/usr/bin/env bash
# Checks and measures the CUDA kernels on the GPU of this machine.
#
#   scripts/measure_cuda.sh [-o FILE.json] [FOLDER]   runs cuda_tests and cuda_bench of FOLDER
#                                                     (default: build/release, built first)
#   scripts/measure_cuda.sh --pack FOLDER             collects them, with the libraries that a GPU
#                                                     machine may lack, to be carried there
#   scripts/measure_cuda.sh --no-replay ...           without the replay: where there is no FP8
#   scripts/measure_cuda.sh --no-virtual ...          without the virtual runs
#
# cuBLASLt, cuDNN and NVRTC are looked for in the toolkit and in the folders of Python packages. FILE
# (default: build/cuda-kernels.json) is written after every kernel: a run that is cut short leaves what
# it has (kernels/cuda/bench_report.hpp says what is in it). Exit code 0: all checks passed and
# everything was measured; 3: there is no GPU. Half a minute on an H200, exchanges, replay and virtual runs not counted.
#
# The replay: chunk pairs of one rank of DeepSeek-V3's step, carried out in real time and compared with
# what calibration/h200.toml predicts of them, in replay-*.json and replay-*.txt beside FILE; products told to
# leave the SMs that communication holds, then told nothing. Every part of it ends by itself within minutes.
#
# The virtual runs: all ranks of small plans in turn on the GPU, beside the same training by the host's kernels in float, and
# each compared with its prediction, in virtual-*.json and virtual-*.txt; seed 2, as in FP8 rounding alone is beyond 5 % with
# most others (realrun/README.md). One whose ladder fails is said and the others go on; the exit code is then 1.
#
# Last, where the toolkit has compute-sanitizer: the checks again under its memcheck, in sanitizer.txt beside FILE; what it
# finds makes the exit code 1.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

say() { printf '==> %s\n' "$*" >&2; }

build() {
  scripts/build.sh release cuda_tests cuda_bench orrery orrery_cuda
}

pack() {
  local folder=$1
  build
  mkdir -p "$folder"
  cp build/release/tests/cuda_tests build/release/{cuda_bench,orrery,liborrery_cuda.so} "$folder"
  strip "$folder"/cuda_* "$folder"/orrery "$folder"/liborrery_cuda.so
  ldd "$folder"/cuda_* "$folder"/orrery "$folder"/liborrery_cuda.so | awk '/=> \//{print $3}' | sort -u |
    grep -vE '/lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|cublasLt|cudnn)\.so' |
    while read -r library; do cp -L "$library" "$folder"; done
  say "packed into $folder: run scripts/measure_cuda.sh $folder where the GPU is"
}

# replay ORRERY FOLDER: $pairs pairs of a rank whose two stages have four MoE layers each.
replay() {
  local orrery=$1 into=$2 told rank=3 pairs=4
  timeout 20 "$orrery" plan --model deepseek-v3 --cluster h800-2048 --calibration h200 --schedule dualpipe --top 1 \
    --fix pp=16,ep=64,tp=1,cp=1,precision=fp8,recompute=selective,comm-sms=20,zero=1 -o "$into/replay-plan.json" > /dev/null
  timeout 20 "$orrery" simulate "$into/replay-plan.json" -o "$into/replay-predicted.json" > /dev/null
  for told in left all; do
    say "replaying $pairs chunk pairs of rank $rank, --product-sms $told"
    timeout 120 "$orrery" realrun "$into/replay-plan.json" --mode cuda-replay --rank "$rank" --pairs "$pairs" \
      --arrivals "$into/replay-predicted.json" --product-sms "$told" -o "$into/replay-$told.json" > /dev/null
    timeout 20 "$orrery" compare "$into/replay-predicted.json" "$into/replay-$told.json" | tee "$into/replay-$told.txt"
  done
}

# virtual ORRERY FOLDER NAME FIX SCHEDULE: the ladder and the clocks of one plan of micro-moe.
virtual() {
  local orrery=$1 into=$2 name=virtual-$3 fix=$4 schedule=$5 passed=0
  timeout 20 "$orrery" plan --model micro-moe --cluster h200-8 --calibration h200 --seq 256 --global-batch 16 \
    --schedule "$schedule" --top 1 --fix "tp=1,cp=1,mbs=1,zero=1,recompute=selective,comm-sms=20,$fix" \
    -o "$into/$name-plan.json" > /dev/null || return 2
  timeout 20 "$orrery" simulate "$into/$name-plan.json" -o "$into/$name-predicted.json" > /dev/null || return 2
  say "virtual run $name: $fix, $schedule"
  timeout 240 "$orrery" realrun "$into/$name-plan.json" --mode cuda-virtual --seed 2 -o "$into/$name.json" |
    tee "$into/$name.txt" || passed=$?
  [[ $passed -gt 1 ]] ||
    timeout 20 "$orrery" compare "$into/$name-predicted.json" "$into/$name.json" | tee -a "$into/$name.txt" || passed=1
  return "$passed"
}

# sanitize TESTS FOLDER: 1 where an access is wrong; nothing where there is no sanitizer.
sanitize() {
  local tests=$1 into=$2 tool found=0
  tool=$(command -v compute-sanitizer || find /usr/local/cuda*/bin /opt -name compute-sanitizer -print -quit 2> /dev/null || true)
  if [[ -z $tool ]]; then
    say "no compute-sanitizer here: accesses not checked"
    return 0
  fi
  say "the checks again under compute-sanitizer's memcheck"
  timeout 240 "$tool" --tool memcheck --error-exitcode 9 "$tests" > "$into/sanitizer.txt" 2>&1 || found=$?
  tail -n 3 "$into/sanitizer.txt"
  [[ $found -ne 124 ]] || say "not through after four minutes: $into/sanitizer.txt"
  [[ $found -eq 0 || $found -eq 124 ]] && ! grep -q '^=========.*Invalid' "$into/sanitizer.txt"
}

output=build/cuda-kernels.json
folder=
replays=yes
virtuals=yes
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
    --no-replay) replays= ;;
    --no-virtual) virtuals= ;;
    *) folder=$1 ;;
  esac
  shift
done

tests=$folder/cuda_tests bench=$folder/cuda_bench orrery=$folder/orrery
if [[ -z $folder ]]; then
  build
  tests=build/release/tests/cuda_tests bench=build/release/cuda_bench orrery=build/release/orrery
fi

libraries=${folder:+$(readlink -f "$folder"):}
for name in libcublasLt.so.13 libcudnn.so.9 libnvrtc.so.13; do
  found=$(find / -name "$name" -not -path '/proc/*' -print -quit 2>/dev/null || true)
  [[ -n $found ]] && libraries+=$(dirname "$found"):
done
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:-}

mkdir -p "$(dirname "$output")"
say "checking every kernel against its twin on the host"
"$tests"
say "measuring; results in $output"
"$bench" "--out=$output"
into=$(dirname "$output")
[[ -z $replays ]] || replay "$orrery" "$into"
failed=0
if [[ -n $virtuals ]]; then
  virtual "$orrery" "$into" bf16 pp=2,ep=2,precision=bf16 dualpipe || failed=1
  virtual "$orrery" "$into" fp8 pp=2,ep=2,precision=fp8 dualpipe || failed=1
  virtual "$orrery" "$into" 1f1b pp=2,ep=4,precision=fp8 1f1b || failed=1
fi
sanitize "$tests" "$into" || failed=1
exit "$failed"
