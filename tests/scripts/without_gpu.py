#!/usr/bin/env python3
"""What needs a GPU says that there is none, with exit code 3.

  without_gpu.py PROGRAM [ARGUMENT ...]

Skipped (77) on a machine that has one."""
import subprocess
import sys
from pathlib import Path

SKIPPED = 77


def main():
    gpus = Path("/proc/driver/nvidia/gpus")
    if gpus.is_dir() and any(gpus.iterdir()):
        print("skipped: this machine has a GPU")
        return SKIPPED
    ran = subprocess.run(sys.argv[1:], capture_output=True, text=True, timeout=120)
    said = ran.stdout + ran.stderr
    if ran.returncode == 3 and "there is no GPU" in said:
        return 0
    print(f"{sys.argv[1:]}: exit code {ran.returncode}, which should be 3; it said:\n{said}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
