#!/usr/bin/env bash
# Checks and measures the CUDA kernels on the GPU of this machine.
#
#   scripts/measure_cuda.sh [-o FILE.json] [FOLDER]   runs cuda_tests and cuda_bench of FOLDER
#                                                     (default: build/release, built first)
#   scripts/measure_cuda.sh --pack FOLDER             collects them, with the libraries that a GPU
#                                                     machine may lack, to be carried there
#
# cuBLASLt, cuDNN and NVRTC are looked for in the toolkit and in the folders of Python packages. FILE
# (default: build/cuda-kernels.json) is written after every kernel: a run that is cut short leaves what
# it has (kernels/cuda/bench_report.hpp says what is in it). Exit code 0: all checks passed and
# everything was measured; 3: there is no GPU. Half a minute on an H200, exchanges not counted.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

say() { printf '==> %s\n' "$*" >&2; }

build() {
  scripts/build.sh release cuda_tests cuda_bench
}

pack() {
  local folder=$1
  build
  mkdir -p "$folder"
  cp build/release/tests/cuda_tests build/release/cuda_bench "$folder"
  strip "$folder"/cuda_*
  ldd "$folder"/cuda_* | awk '/=> \//{print $3}' | sort -u |
    grep -vE '/lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|cublasLt|cudnn)\.so' |
    while read -r library; do cp -L "$library" "$folder"; done
  say "packed into $folder: run scripts/measure_cuda.sh $folder where the GPU is"
}

output=build/cuda-kernels.json
folder=
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
    *) folder=$1 ;;
  esac
  shift
done

tests=$folder/cuda_tests bench=$folder/cuda_bench
if [[ -z $folder ]]; then
  build
  tests=build/release/tests/cuda_tests bench=build/release/cuda_bench
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
