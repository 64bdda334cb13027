#!/usr/bin/env python3
"""Searches under mpirun: plan_processes.py --orrery PATH

  same       1, 2, 4 processes and none at all write the same plan file and the same JSON, byte for byte, but
             for `timing`
  no         a model that fits nowhere ends with exit code 1 of the first process, bad input says what is wrong once
  lost       a process that is killed ends the search with an error and without an answer

Exit code 0: all hold, or there is no mpirun; 1: one does not.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import scratch
from run_checks import Failure, expect, mpi_environment

TIMEOUT_SECONDS = 120
PROBLEM = ["--model", "deepseek-v2-lite", "--cluster", "h800-64", "--global-batch", "256", "--tokens", "1T"]


class Searches:
    def __init__(self, orrery: Path, root: Path, folder: Path):
        self.orrery, self.root, self.folder = orrery, root, folder
        self.environment = mpi_environment()

    def command(self, processes: int, *options: str) -> list[str]:
        launcher = ["mpirun", "--oversubscribe", "-n", str(processes)] if processes > 0 else []
        return [*launcher, str(self.orrery), "plan", *options]

    def run(self, processes: int, *options: str) -> subprocess.CompletedProcess:
        return subprocess.run(self.command(processes, *options), cwd=self.root, env=self.environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)


def same(searches: Searches) -> None:
    answers = {}
    for processes in (0, 1, 2, 4):
        plan = searches.folder / f"plan{processes}.json"
        done = searches.run(processes, *PROBLEM, "--fix", "pp=4", "--schedule", "zb-v", "--why", "ep=64", "--json",
                            "-o", str(plan))
        expect(done.returncode == 0, f"{processes} processes: exit code {done.returncode}\n{done.stderr}")
        answer = json.loads(done.stdout)
        answer.pop("timing")
        expect(answer["simulated"] > 1 and answer["pruned"] > 0, f"{processes} processes: little was looked for")
        answers[processes] = json.dumps(answer), plan.read_bytes()
    for processes, answer in answers.items():
        expect(answer == answers[0], f"{processes} processes do not answer as one without mpirun")


def no(searches: Searches) -> None:
    done = searches.run(2, "--model", "deepseek-v3", "--cluster", "h800-64", "--fix", "pp=4,optimizer=gpu",
                        "--schedule", "1f1b")
    expect(done.returncode == 1, f"exit code {done.returncode}\n{done.stderr}")
    expect(done.stdout.count("No layout is feasible") == 1, done.stdout)
    done = searches.run(2, "--model", "deepseek-v4", "--cluster", "h800-64")
    expect(done.returncode == 2, f"exit code {done.returncode}\n{done.stderr}")
    expect(done.stderr.count("unknown model 'deepseek-v4'") == 1, done.stderr)


def lost(searches: Searches) -> None:
    started = subprocess.Popen(searches.command(2, "--model", "deepseek-v3", "--cluster", "h800-2048"),
                               cwd=searches.root, env=searches.environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        workers = []
        while len(workers) < 2:
            expect(time.monotonic() < deadline and started.poll() is None, "the search did not start")
            listed = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(started.pid)], capture_output=True,
                                    text=True, check=False).stdout
            workers = [int(line.split()[0]) for line in listed.splitlines() if line.split()[1] == "orrery"]
            time.sleep(0.05)
        os.kill(workers[1], signal.SIGKILL)
        output, errors = started.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
    expect(started.returncode != 0, "a lost process was not noticed")
    expect("points =" not in output, f"an answer without one of its processes:\n{output}")
    expect(errors != "", "no error was printed")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--orrery", type=Path, required=True)
    options = parser.parse_args()
    if shutil.which("mpirun") is None:
        print("skipped: there is no mpirun")
        return 0
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        searches = Searches(options.orrery.resolve(), Path.cwd(), Path(folder))
        for test in (same, no, lost):
            try:
                test(searches)
                print(f"{test.__name__}: ok")
            except Failure as failure:
                print(f"{test.__name__}: {failure}")
                failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
