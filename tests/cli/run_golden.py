#!/usr/bin/env python3
"""Runs golden tests of the command line: run_golden.py --orrery PATH [--bless] CASE.cmd...

A case is up to four files side by side:

  NAME.cmd      one shell command line that starts with `orrery`; lines that start with # say what it shows
  NAME.stdout   what it must print, exactly      (absent: nothing)
  NAME.stderr   the same for standard error      (absent: nothing)
  NAME.exit     its exit code                    (absent: 0)

The command runs without standard input in a scratch copy of the repository root, so data files are found by
name and files it writes are gone afterwards. Figures that differ from run to run are replaced before the
comparison (NORMALISED below). --bless rewrites the expectations with what was printed: read the diff before
committing it. Exit code 0: all as expected (or blessed); 1: a difference; 2: wrong usage.
"""

import argparse
import difflib
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import scratch  # noqa: E402

TIMEOUT_SECONDS = 120

# (pattern, replacement): what no two runs have in common. Keep it short: each entry hides something.
NORMALISED = [
    # JSON: "timing": {"wall_s": 0.41, "cpu_s": 0.39}
    (re.compile(r'("(?:wall_s|cpu_s)": ?)[-+.\deE]+'), r"\1<time>"),
    # Terminal: "0.41 s wall", "12 ms cpu"
    (re.compile(r"\b\d+(?:\.\d+)?(?:e[-+]?\d+)? (?:ns|µs|us|ms|s|min) (wall|cpu)\b"), r"<time> \1"),
]


class Result(NamedTuple):
    stdout: str
    stderr: str
    exit: str

    def items(self):
        return self._asdict().items()


NOTHING = Result(stdout="", stderr="", exit="0\n")  # what an absent file means


def normalise(text: str, folder: Path) -> str:
    for path in (folder, folder.resolve()):
        text = text.replace(str(path), "<scratch>")
    text = text.replace(str(scratch.ROOT), "<root>")
    for pattern, replacement in NORMALISED:
        text = pattern.sub(replacement, text)
    return text


def read_command(case: Path) -> str:
    lines = [line for line in case.read_text(encoding="utf-8").splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1 or lines[0].split()[0] != "orrery":
        raise ValueError(f"{case}: expected one command line that starts with `orrery`")
    return lines[0]


def run(case: Path, orrery: Path) -> Result:
    with tempfile.TemporaryDirectory(prefix="orrery-golden-") as name:
        folder = Path(name)
        scratch.fill(folder, orrery)
        path = f"{folder / 'build' / 'release'}:{scratch.environment().get('PATH', '')}"
        done = subprocess.run(["bash", "-o", "pipefail", "-c", read_command(case)], cwd=folder, capture_output=True,
                              stdin=subprocess.DEVNULL, env=scratch.environment(PATH=path), timeout=TIMEOUT_SECONDS)
        stdout, stderr = (normalise(output.decode("utf-8", errors="backslashreplace"), folder)
                          for output in (done.stdout, done.stderr))
        return Result(stdout, stderr, f"{done.returncode}\n")


def read_expected(case: Path) -> Result:
    return Result(**{part: path.read_text(encoding="utf-8") if (path := case.with_suffix(f".{part}")).exists() else absent
                     for part, absent in NOTHING.items()})


def bless(case: Path, actual: Result) -> None:
    for (part, text), absent in zip(actual.items(), NOTHING):
        path = case.with_suffix(f".{part}")
        if text == absent:
            path.unlink(missing_ok=True)
        else:
            path.write_text(text, encoding="utf-8")


def diff(case: Path, expected: Result, actual: Result) -> str:
    def lines(text):  # a missing newline at the end of a file must show
        return [line if line.endswith("\n") else line + "<no newline>\n" for line in text.splitlines(keepends=True)]

    return "".join("".join(difflib.unified_diff(lines(text), lines(actual_text), f"{case.stem}.{part} (expected)",
                                                f"{case.stem}.{part} (printed)"))
                   for (part, text), actual_text in zip(expected.items(), actual))


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs golden tests of the command line.")
    parser.add_argument("--orrery", type=Path, required=True, help="the executable to run")
    parser.add_argument("--bless", action="store_true", help="rewrite the expectations")
    parser.add_argument("cases", type=Path, nargs="+", metavar="CASE.cmd")
    arguments = parser.parse_args()
    if not arguments.orrery.is_file():
        parser.error(f"no such executable: {arguments.orrery}")

    failed = 0
    for case in arguments.cases:
        try:
            actual = run(case, arguments.orrery)
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            print(error, file=sys.stderr)
            return 2
        expected = read_expected(case)
        if actual == expected:
            print(f"ok      {case.stem}")
        elif arguments.bless:
            bless(case, actual)
            print(f"blessed {case.stem}")
        else:
            failed += 1
            print(f"FAILED  {case.stem}: {read_command(case)}\n{diff(case, expected, actual)}")
    if failed:
        print(f"{failed} of {len(arguments.cases)} cases differ; if that is right, run again with --bless", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
