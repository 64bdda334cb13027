#!/usr/bin/env python3
"""Real runs from outside: real_runs.py --orrery PATH

  killed     SIGKILL in the middle of a step: the next start resumes after the last checkpoint and goes on
             with the losses of a run that was never interrupted
  cut short  a truncated file of the newest checkpoint is noticed, and the checkpoint before is used
  mpirun     ranks as MPI processes train to the same checkpoint as ranks as threads, byte for byte; skipped
             where there is no mpirun

Exit code 0: all hold; 1: one does not.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import scratch
from run_checks import LINE, Failure, expect, mpi_environment

RANKS = 4
STEPS = 16  # of a whole run
EVERY = 4   # steps between checkpoints
TIMEOUT_SECONDS = 120


def losses_of(text: str) -> dict[int, tuple[str, ...]]:
    """Step -> loss, MTP loss and gradient norm as printed."""
    return {int(match[1]): match.groups()[1:] for match in LINE.finditer(text)}


class Runs:
    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = mpi_environment()

    def command(self, steps: int, checkpoints: str, *options: str) -> list[str]:
        return ["build/release/orrery", "realrun", "plan.json", "--steps", str(steps), "--evaluate-every", "-1",
                "--checkpoint", checkpoints, "--checkpoint-every", str(EVERY), *options]

    def run(self, command: list[str]) -> subprocess.CompletedProcess:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        expect(done.returncode == 0, f"{' '.join(command)}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def plan(self) -> None:
        self.run(["build/release/orrery", "plan", "--model", "tiny-moe", "--cluster", f"host-{RANKS}", "--seq", "32",
                  "--global-batch", "8", "--fix", "pp=2,ep=2", "--schedule", "1f1b", "-o", "plan.json"])

    def kill_after(self, step: int, command: list[str]) -> int:
        """Kills the run somewhere in the step after `step`; the last step that it printed."""
        with subprocess.Popen(command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True) as process:
            seen = ""
            for line in process.stdout:
                seen += line
                if step in losses_of(seen):
                    break
            time.sleep(0.003)
            os.kill(process.pid, signal.SIGKILL)
            seen += process.stdout.read()
        expect(process.returncode == -signal.SIGKILL, "the run ended before it could be killed")
        return max(losses_of(seen))


def resumed_after(done: subprocess.CompletedProcess) -> int:
    match = re.search(r"resumed after step (\d+)", done.stderr)
    expect(match is not None, f"it does not say where it resumed:\n{done.stderr}")
    return int(match[1])


def killed(runs: Runs) -> None:
    whole = losses_of(runs.run(runs.command(STEPS, "whole")).stdout)
    expect(len(whole) == STEPS, f"{len(whole)} steps of {STEPS} printed")
    for step in (5, 9, 10):
        folder = f"killed-{step}"
        last = runs.kill_after(step, runs.command(100000, folder))
        done = runs.run(runs.command(STEPS, folder, "--resume"))
        after = resumed_after(done)
        expect(last - EVERY <= after <= last + 1 and after % EVERY == 0,
               f"killed after step {last}, resumed after {after}")
        rest = losses_of(done.stdout)
        expect(sorted(rest) == list(range(after + 1, STEPS + 1)), f"steps {sorted(rest)} after {after}")
        for number, losses in rest.items():
            expect(losses == whole[number], f"step {number}: {losses}, uninterrupted {whole[number]}")


def cut_short(runs: Runs) -> None:
    shutil.copytree(runs.folder / "whole", runs.folder / "cut")
    newest = sorted(path for path in (runs.folder / "cut").iterdir() if path.is_dir())[-1]
    file = sorted(path for path in newest.iterdir() if "rank" in path.name)[1]
    os.truncate(file, file.stat().st_size // 2)
    done = runs.run(runs.command(STEPS, "cut", "--resume"))
    expect(file.name in done.stderr, f"the cut file {file.name} is not named:\n{done.stderr}")
    expect(resumed_after(done) == STEPS - EVERY, f"it should have used the checkpoint before:\n{done.stderr}")
    same_files(runs.folder / "whole", runs.folder / "cut")


def same_files(expected: Path, found: Path) -> None:
    names = sorted(str(path.relative_to(expected)) for path in expected.rglob("*") if path.is_file())
    expect(len(names) > RANKS, f"only {names} in {expected}")
    for name in names:
        expect((expected / name).read_bytes() == (found / name).read_bytes(), f"{found / name} differs")


def under_mpirun(runs: Runs) -> None:
    if shutil.which("mpirun") is None:
        print("mpirun: skipped, there is none")
        return
    done = runs.run(["mpirun", "--oversubscribe", "-np", str(RANKS), *runs.command(STEPS, "processes")])
    expect("4 ranks as MPI processes" in done.stdout, done.stdout)
    same_files(runs.folder / "whole", runs.folder / "processes")
    wrong = subprocess.run(["mpirun", "--oversubscribe", "-np", "2", *runs.command(STEPS, "wrong")], cwd=runs.folder,
                           env=runs.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=TIMEOUT_SECONDS)
    expect(wrong.returncode != 0 and "start it with mpirun -np 4" in wrong.stderr, wrong.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orrery", required=True, type=Path)
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as name:
        scratch.fill(Path(name), arguments.orrery)
        runs = Runs(Path(name))
        runs.plan()
        for test in (killed, cut_short, under_mpirun):
            try:
                test(runs)
                print(f"{test.__name__}: holds")
            except (Failure, subprocess.TimeoutExpired) as failure:
                failed = True
                print(f"{test.__name__}: {failure}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
