#!/usr/bin/env python3
"""`orrery realrun --mode nccl` from outside: nccl_runs.py --orrery PATH --shim PATH

The shim carries NCCL's calls over host memory (tests/nccl_shim), so that eight ranks run on any machine.

  mpirun       eight processes train to the same printed losses and the same checkpoint, byte for byte, as eight threads
               of --mode host: the shim sums in the order of ranks, as host runs do (NCCL itself sums in its own)
  tensors      the same with tensor parallelism and DualPipe, the collectives inside layers among the calls
  torchrun     four processes that its variables, not MPI, bring together
  alone        one rank without a launcher
  killed       a process that dies takes the others with it, soon and with its reason
  refused      no GPU, fewer GPUs than processes, another number of processes than ranks

Exit code 0: all hold; 1: one does not.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import scratch
from run_checks import LINE, Failure, expect, mpi_environment

STEPS = 4
TIMEOUT_SECONDS = 120


def losses_of(text: str) -> list[tuple[str, ...]]:
    return [match.groups() for match in LINE.finditer(text)]


def same_files(expected: Path, found: Path, ranks: int) -> None:
    names = sorted(str(path.relative_to(expected)) for path in expected.rglob("*") if path.is_file())
    expect(len(names) > ranks, f"only {names} in {expected}")
    for name in names:
        expect((expected / name).read_bytes() == (found / name).read_bytes(), f"{found / name} differs")


class Runs:
    def __init__(self, folder: Path, shim: Path):
        self.folder = folder
        self.environment = mpi_environment(ORRERY_NCCL_LIBRARY=str(shim.resolve()))

    def run(self, command: list[str], code: int = 0, **environment: str) -> subprocess.CompletedProcess:
        done = subprocess.run(command, cwd=self.folder, env=self.environment | environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        expect(done.returncode == code,
               f"{' '.join(command)}\nexit code {done.returncode}, not {code}\n{done.stdout}{done.stderr}")
        return done

    def plan(self, name: str, ranks: int, fix: str, schedule: str = "1f1b") -> None:
        self.run(["build/release/orrery", "plan", "--model", "tiny-moe", "--cluster", f"host-{ranks}", "--seq", "32",
                  "--global-batch", "8", "--fix", fix, "--schedule", schedule, "-o", f"{name}.json"])

    def command(self, name: str, *options: str, checkpoint: str = "", steps: int = STEPS) -> list[str]:
        return ["build/release/orrery", "realrun", f"{name}.json", "--steps", str(steps),
                *(["--checkpoint", checkpoint] if checkpoint else []), *options]

    def nccl(self, name: str, checkpoint: str = "") -> list[str]:
        return self.command(name, "--mode", "nccl", checkpoint=checkpoint)


def mpirun(ranks: int) -> list[str]:
    return ["mpirun", "--oversubscribe", "-np", str(ranks)]


def compare(runs: Runs, name: str, ranks: int, done_by: str, output: str) -> None:
    """With threads of --mode host, whose checkpoint is in a folder of the plan's name."""
    expected = losses_of(runs.run(runs.command(name, checkpoint=f"{name}-host")).stdout)
    found = losses_of(output)
    expect(len(expected) == STEPS and expected == found, f"losses {found}, of --mode host {expected}")
    expect(float(found[-1][1]) < float(found[0][1]), f"the loss does not fall: {found}")
    same_files(runs.folder / f"{name}-host", runs.folder / done_by, ranks)


def under_mpirun(runs: Runs) -> None:
    if shutil.which("mpirun") is None:
        print("mpirun: skipped, there is none")
        return
    for name, fix, schedule in (("eight", "pp=2,ep=2", "1f1b"), ("tensors", "pp=2,tp=2,ep=2", "dualpipe")):
        runs.plan(name, 8, fix, schedule)
        done = runs.run(mpirun(8) + runs.nccl(name, checkpoint=f"{name}-nccl"))
        expect("8 ranks as processes of one GPU each, NCCL 2.28.9" in done.stdout, done.stdout)
        compare(runs, name, 8, f"{name}-nccl", done.stdout)


def under_torchrun(runs: Runs) -> None:
    runs.plan("four", 4, "pp=2,ep=2")
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    processes = []
    for rank in range(4):
        variables = {"RANK": str(rank), "WORLD_SIZE": "4", "LOCAL_RANK": str(rank), "MASTER_ADDR": "localhost",
                     "MASTER_PORT": str(port)}
        processes.append(subprocess.Popen(runs.nccl("four", checkpoint="four-nccl"), cwd=runs.folder,
                                          env=runs.environment | variables, stdin=subprocess.DEVNULL,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    outputs = [process.communicate(timeout=TIMEOUT_SECONDS) for process in processes]
    for process, (_, errors) in zip(processes, outputs):
        expect(process.returncode == 0, errors)
    compare(runs, "four", 4, "four-nccl", outputs[0][0])


def alone(runs: Runs) -> None:
    runs.plan("one", 1, "pp=1")
    done = runs.run(runs.nccl("one", checkpoint="one-nccl"), ORRERY_NCCL_SHIM_GPUS="1")
    compare(runs, "one", 0, "one-nccl", done.stdout)


def killed(runs: Runs) -> None:
    runs.plan("two", 2, "pp=2,ep=1")
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    command = runs.command("two", "--mode", "nccl", steps=1000000)
    processes = []
    for rank in range(2):
        variables = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
        processes.append(subprocess.Popen(command, cwd=runs.folder, env=runs.environment | variables,
                                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                          text=True))
    first, second = processes
    for line in first.stdout:
        if losses_of(line):
            break
    os.kill(second.pid, signal.SIGKILL)
    begun = time.monotonic()
    _, errors = first.communicate(timeout=TIMEOUT_SECONDS)
    second.communicate()
    seconds = time.monotonic() - begun
    expect(first.returncode == 1, f"exit code {first.returncode}: {errors}")
    expect("rank 1" in errors, errors)
    print(f"killed: the other process ended after {seconds:.1f} s with exit code {first.returncode}: "
          + errors.strip().splitlines()[-1].strip())


def refused(runs: Runs) -> None:
    runs.plan("one", 1, "pp=1")
    no_gpu = runs.run(runs.nccl("one"), 3, ORRERY_NCCL_SHIM_GPUS="0")
    expect("there is no GPU for --mode nccl" in no_gpu.stderr, no_gpu.stderr)
    # Without the shim, and with the GPUs hidden where there are any.
    hidden = runs.run(runs.nccl("one"), 3, ORRERY_NCCL_LIBRARY="", CUDA_VISIBLE_DEVICES="")
    expect("there is no GPU for --mode nccl" in hidden.stderr, hidden.stderr)
    few = runs.run(runs.nccl("one"), 3, ORRERY_NCCL_SHIM_GPUS="2", OMPI_COMM_WORLD_RANK="2", OMPI_COMM_WORLD_SIZE="3")
    expect("process 2 of this node has no GPU of its own: there are 2" in few.stderr, few.stderr)
    runs.plan("eight", 8, "pp=2,ep=2")
    size = runs.run(runs.nccl("eight"), 2)
    expect("the plan has 8 ranks, 1 process has been started" in size.stderr, size.stderr)
    missing = runs.run([*runs.nccl("one"), "--nccl-library", "no-such-library.so"], 3)
    expect("no-such-library.so" in missing.stderr, missing.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orrery", required=True, type=Path)
    parser.add_argument("--shim", required=True, type=Path)
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as name:
        scratch.fill(Path(name), arguments.orrery)
        runs = Runs(Path(name), arguments.shim)
        for test in (under_mpirun, under_torchrun, alone, killed, refused):
            try:
                test(runs)
                print(f"{test.__name__}: holds")
            except (Failure, subprocess.TimeoutExpired) as failure:
                failed = True
                print(f"{test.__name__}: {failure}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
