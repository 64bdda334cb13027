#!/usr/bin/env bash
# Configures a preset when needed and builds it, quietly.
#
#   scripts/build.sh PRESET [TARGET...]        everything when no target is named
#
# The compiler's output goes to build/PRESET.log and is shown only when something fails. Progress on stderr.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

if (($# == 0)); then
  printf 'usage: scripts/build.sh PRESET [TARGET...]\n' >&2
  exit 2
fi
preset=$1
shift
targets=("$@")
folder=build/$preset
log=build/$preset.log

say() { printf '==> %s\n' "$*" >&2; }

fail() {
  say "$1 failed. The end of $log:"
  tail -n 60 "$log" | sed 's/^/    /' >&2
  say "$1 failed; everything it printed is in $log"
  exit 1
}

# A folder made for another path (a copied checkout) cannot be built in: it is configured afresh.
is_configured() {
  [[ -f $folder/build.ninja ]] &&
    grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$folder/CMakeCache.txt"
}

mkdir -p build
: >"$log"

if ! is_configured; then
  say "configuring preset $preset"
  if command -v ccache >/dev/null; then
    export CMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER-ccache}
  fi
  cmake --preset "$preset" --fresh </dev/null >>"$log" 2>&1 || fail "configuring preset $preset"
fi

# The compiler's cache is shared by all checkouts: paths below this one count as relative.
export CCACHE_BASEDIR=${CCACHE_BASEDIR-$PWD} CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR-1}
# Without it nothing that is compiled with a precompiled header (the tests) is taken from there.
export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS-pch_defines,time_macros}

jobs=$(nproc)
say "building preset $preset with $jobs jobs: ${targets[*]:-everything} (minutes at first, seconds after)"

# A sign of life while the compiler works: ninja's own [done/total], every 20 seconds. The sleep holds
# none of our descriptors, so nobody waits for it once the build has ended.
heartbeat() {
  while sleep 20 <&- >/dev/null 2>&1; do
    printf '    %s after %d s\n' "$(grep -oE '^\[[0-9]+/[0-9]+\]' "$log" | tail -n 1)" "$SECONDS" >&2
  done
}
heartbeat </dev/null >/dev/null &
heartbeat_pid=$!
trap 'kill "$heartbeat_pid" 2>/dev/null || true' EXIT

arguments=(--build --preset "$preset" --parallel "$jobs")
if ((${#targets[@]} > 0)); then
  arguments+=(--target "${targets[@]}")
fi
cmake "${arguments[@]}" </dev/null >>"$log" 2>&1 || fail "building preset $preset"
say "preset $preset is up to date (${SECONDS} s)"
