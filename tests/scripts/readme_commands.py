#!/usr/bin/env python3
"""Runs the commands of README.md: readme_commands.py --orrery PATH [README.md]

Looks at the fenced blocks marked sh (each line a command) and console (lines that start with "$ "), and in
them at commands that start with

  build/release/orrery   run in a scratch copy of the repository, all in the same one and in order, so that a
                         command may read what an earlier one wrote; must exit with 0, or with N where the
                         command ends in the comment `# exit N`
  scripts/               must exist, be executable and, when a shell script, parse

A command may go on over several lines that end in a backslash. Everything else is ignored.
Exit code 0: all commands work; 1: one does not; 2: there is nothing to check.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import scratch

TIMEOUT_SECONDS = 120
EXIT_COMMENT = re.compile(r"\s#\s*exit (\d+)\b")


class Command(NamedTuple):
    line: int  # of README.md, where the command starts
    text: str
    expected_exit: int


def extract_commands(markdown: str) -> list[Command]:
    commands = []
    language = None  # of the fenced block we are in
    started, pending = 0, ""
    for number, line in enumerate(markdown.splitlines(), 1):
        if fence := re.match(r"\s*```\s*(\w*)", line):
            language = fence.group(1) if language is None else None
            pending = ""
            continue
        if language not in ("sh", "console"):
            continue
        text = line.strip()
        if not pending:
            if language == "console":
                if not text.startswith("$ "):
                    continue
                text = text[2:]
            started = number
        elif language == "console":
            text = text.removeprefix("> ")
        pending += text
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        if pending.startswith(("build/release/orrery", "scripts/")):
            comment = EXIT_COMMENT.search(pending)
            commands.append(Command(started, pending, int(comment.group(1)) if comment else 0))
        pending = ""
    return commands


def check_script(command: Command, root: Path) -> str | None:
    """What is wrong with a command that starts with scripts/, or None."""
    path = root / shlex.split(command.text, comments=True)[0]
    if not path.is_file():
        return "no such file"
    if not os.access(path, os.X_OK):
        return "not executable"
    if path.suffix == ".sh":
        done = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
        return done.stderr if done.returncode else None
    return None


def run_orrery(command: Command, folder: Path) -> str | None:
    """What is wrong with a command that starts with build/release/orrery, or None."""
    try:
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command.text], cwd=folder, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, env=scratch.environment(), timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"still running after {TIMEOUT_SECONDS} s"
    if done.returncode == command.expected_exit:
        return None
    return f"exit code {done.returncode}, expected {command.expected_exit}\n{done.stdout}{done.stderr}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the commands of README.md.")
    parser.add_argument("--orrery", type=Path, required=True, help="the executable to run")
    parser.add_argument("readme", type=Path, nargs="?", default=scratch.ROOT / "README.md")
    arguments = parser.parse_args()
    if not arguments.readme.is_file() or not arguments.orrery.is_file():
        print("readme_commands: README or executable not found", file=sys.stderr)
        return 2
    commands = extract_commands(arguments.readme.read_text(encoding="utf-8"))
    if not commands:
        print(f"{arguments.readme}: no commands to check", file=sys.stderr)
        return 2

    failed = 0
    with tempfile.TemporaryDirectory(prefix="orrery-readme-") as name:
        scratch.fill(Path(name), arguments.orrery)
        for command in commands:
            started = time.monotonic()
            if command.text.startswith("scripts/"):
                problem = check_script(command, scratch.ROOT)
            else:
                problem = run_orrery(command, Path(name))
            verdict = "FAILED" if problem else "ok"
            print(f"{verdict:6} {time.monotonic() - started:6.1f} s  {arguments.readme.name}:{command.line}: {command.text}")
            if problem:
                failed += 1
                print("    " + problem.rstrip().replace("\n", "\n    "))
    print(f"{len(commands)} commands, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
