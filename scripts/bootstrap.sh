#!/usr/bin/env bash
# Installs the Debian packages that building and testing orrery needs; does nothing when all are there.
#
#   scripts/bootstrap.sh
#
# Exit codes: 0 everything is installed; 3 it is not and this script may not or cannot install it.
# ORRERY_SKIP_BOOTSTRAP=1 skips the check (for systems where the libraries come from elsewhere).
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache pkg-config python3
  libsimgrid-dev libboost-graph-dev libboost-context-dev
  catch2 libbenchmark-dev
  libopenblas-dev libopenmpi-dev openmpi-bin
  libcli11-dev libtomlplusplus-dev nlohmann-json3-dev libfmt-dev zlib1g-dev
)

say() { printf '==> %s\n' "$*" >&2; }

# Prints the packages of the list that are not installed, one a line.
missing_packages() {
  local installed
  installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null || true)
  local package
  for package in "${packages[@]}"; do
    grep -qxF -- "$package installed" <<<"$installed" || printf '%s\n' "$package"
  done
}

if [[ ${ORRERY_SKIP_BOOTSTRAP:-0} == 1 ]]; then
  exit 0
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  say "This is not a Debian system, so nothing can be installed automatically."
  say "orrery is built and tested on Debian 12. Install the equivalents of these packages yourself:"
  printf '      %s\n' "${packages[*]}" >&2
  say "then run this command again with ORRERY_SKIP_BOOTSTRAP=1."
  exit 3
fi

mapfile -t missing < <(missing_packages)
if ((${#missing[@]} == 0)); then
  exit 0
fi

if [[ $(id -u) == 0 ]]; then
  as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root=(sudo -n)
else
  say "${#missing[@]} packages are missing and installing them needs root. Run this, then try again:"
  printf '      sudo apt-get update && sudo apt-get install --yes --no-install-recommends %s\n' \
    "${missing[*]}" >&2
  exit 3
fi

say "installing ${#missing[@]} packages: ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq)
{
  "${apt[@]}" update &&
    "${apt[@]}" install --yes --no-install-recommends "${missing[@]}"
} </dev/null >&2 || {
  say "apt-get failed. Is there a network, and is this Debian 12? (other releases name packages otherwise)"
  exit 3
}

mapfile -t missing < <(missing_packages)
if ((${#missing[@]} > 0)); then
  say "apt-get succeeded, yet these packages are still not installed: ${missing[*]}"
  exit 3
fi
say "packages installed in ${SECONDS} s"
