#!/usr/bin/env bash
# From a fresh machine to a verdict: installs what is missing, builds, and runs every test.
#
#   scripts/test.sh [CTEST OPTION...]        options go to the last run, e.g. -R schedule
#
# Two runs: first the tests of core/ and the command line's bad-input cases under the address and
# undefined-behaviour sanitizers (that is where untrusted input is read; preset asan-input, whose planner/,
# kernels/, realrun/ and reports/ are those of the optimised build; preset asan has all), then all tests, optimised.
# Needs neither a terminal nor standard input. Exit code 0 when everything passed, 1 otherwise.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

say() { printf '==> %s\n' "$*" >&2; }

scripts/bootstrap.sh
scripts/build.sh release
scripts/build.sh asan-input core_tests orrery
built=$SECONDS

say "running the tests of core/ and the bad-input cases (preset asan-input)"
asan_log=build/asan-tests.log
asan=passed
ctest --preset asan-input --parallel "$(nproc)" --no-tests=error -L '^(core|bad-input)$' \
  </dev/null >"$asan_log" 2>&1 || asan=FAILED
if [[ $asan == FAILED ]]; then
  cat "$asan_log"
fi

say "summary so far: built in $built s; sanitizer run $asan" \
  "($(grep -oE '[0-9]+ tests failed out of [0-9]+' "$asan_log" || echo 'see above')) in $((SECONDS - built)) s"
say "running all tests (preset release)"
release=passed
ctest --preset release --parallel "$(nproc)" --no-tests=error "$@" </dev/null || release=FAILED

if [[ $asan == FAILED || $release == FAILED ]]; then
  say "sanitizer run: $asan; all tests: $release"
  exit 1
fi
