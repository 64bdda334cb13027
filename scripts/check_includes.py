#!/usr/bin/env python3
"""Checks the rules of the source tree that a compiler does not: python3 scripts/check_includes.py [ROOT]

  order        a folder includes only itself and the folders in ALLOWED
  spelling     our headers are included as "folder/file.hpp", never <...>, never relative
  third-party  no library type in a header: a .hpp includes our headers, the standard library and fmt
  pragma       a header's first line is #pragma once
  length       at most 800 lines a source file (a warning above 400)
  size         no file above 1 MB
  words        none of FORBIDDEN_WORDS in a source file
  names        a type of a namespace is defined in one file: two of one name are undefined behaviour, and no tool says so

Looks at the files git knows or would add; at every file where there is no git. Prints file:line: messages
and exits with 1 when a rule is broken, with 0 otherwise (warnings do not count).
"""

import os
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Iterator, NamedTuple

# folder: the other folders it may include. Written out rather than derived: this table is the rule.
ALLOWED = {
    "core": set(),
    "workload": {"core"},
    "kernels": {"core", "workload"},
    "sim": {"core", "workload"},
    "planner": {"core", "workload", "sim"},
    "realrun": {"core", "workload", "kernels", "sim", "planner"},
    "reports": {"core", "workload", "planner", "sim", "realrun"},
    "cli": {"core", "workload", "kernels", "sim", "planner", "realrun", "reports"},
    "tests": {"core", "workload", "kernels", "sim", "planner", "realrun", "reports", "cli"},
}

# Libraries whose types stay in .cpp and .cu files, by the start of the include.
THIRD_PARTY = re.compile(
    r"simgrid[/.]|xbt[/.]|smpi/|boost/|nlohmann/|toml\+\+/|toml\.hpp|CLI/|zlib\.h|zconf\.h|mpi\.h|nccl"
    r"|cu(da|blas|dnn|pti|rand|b/|tlass/)|cooperative_groups|thrust/|nvtx|nvml|benchmark/|catch2/"
)

# In two pieces, so that this file passes its own check.
FORBIDDEN_WORDS = ("/wor" "k/", "/tm" "p/", "TO" "DO", "FIX" "ME")

MAX_LINES, WISHED_LINES = 800, 400
MAX_BYTES = 1_000_000

CPP = {".hpp", ".h", ".cpp", ".cu", ".cuh"}
CODE = CPP | {".py", ".sh", ".cmake", ".ts"}  # what has a length limit
CHECKED_TEXT = CODE | {".toml"}  # what has forbidden words
SKIPPED_FOLDERS = {".git", "build", "out", "node_modules", "__pycache__"}

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^">]+)[">]')
NAMESPACE = re.compile(r"namespace\s*([\w:]*)\s*\{")
NAMESPACE_END = re.compile(r"\}\s*//\s*namespace")
TYPE = re.compile(r"(?:struct|class|enum class|enum)\s+(\w+)(?!\w|::)(?:[^;]*$|[^;{]*\{)")
SPELLING = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)+\.(hpp|cuh)")


class Finding(NamedTuple):
    path: PurePosixPath
    line: int
    message: str
    is_error: bool = True

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {'error' if self.is_error else 'warning'}: {self.message}"


def list_files(root: Path) -> list[PurePosixPath]:
    """The files of the repository, relative to its root, sorted."""
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        try:
            output = subprocess.run(command, check=True, capture_output=True).stdout
            names = {name for name in os.fsdecode(output).split("\0") if name}
            return sorted(PurePosixPath(name) for name in names if (root / name).is_file())
        except (OSError, subprocess.CalledProcessError):
            pass  # no git program, or a checkout of another user: look at the folders instead
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        files += [PurePosixPath((Path(folder) / name).relative_to(root)) for name in names]
    return sorted(files)


def is_code(path: PurePosixPath, text: str) -> bool:
    """Scripts without a suffix are known by their first line."""
    return path.suffix in CODE or path.name == "CMakeLists.txt" or text.startswith("#!")


def check_include(path: PurePosixPath, line: int, bracket: str, target: str) -> Iterator[Finding]:
    folder = path.parts[0]
    if path.suffix in {".hpp", ".h"} and folder != "tests" and THIRD_PARTY.match(target):
        yield Finding(path, line, f"{target} in a header: third-party types stay in .cpp files, behind ours")
    target_folder = target.split("/")[0]
    if bracket == "<":
        if target_folder in ALLOWED and "/" in target and target.endswith((".hpp", ".cuh")):
            yield Finding(path, line, f'our headers are included with quotes: #include "{target}"')
        return
    if not SPELLING.fullmatch(target) or target_folder not in ALLOWED:
        yield Finding(path, line, f'"{target}" is not spelled "folder/file.hpp" with one of our folders '
                                  "(headers of libraries go in <...>)")
    elif target_folder != folder and target_folder not in ALLOWED.get(folder, set()):
        allowed = ", ".join(name for name in ALLOWED if name in ALLOWED.get(folder, set())) or "no other folder"
        yield Finding(path, line, f"{folder}/ may not include {target_folder}/ (it may include: {allowed})")


def check_text(path: PurePosixPath, text: str) -> Iterator[Finding]:
    lines = text.splitlines()
    if path.suffix in CPP:
        if path.parts[0] not in ALLOWED:
            yield Finding(path, 1, f"{path.parts[0]}/ has no place in the order of the folders (scripts/check_includes.py)")
        if path.suffix in {".hpp", ".h", ".cuh"} and (not lines or lines[0].strip() != "#pragma once"):
            yield Finding(path, 1, "a header's first line is #pragma once")
        for number, line in enumerate(lines, 1):
            if match := INCLUDE.match(line):
                yield from check_include(path, number, *match.groups())
    if is_code(path, text):
        if len(lines) > MAX_LINES:
            yield Finding(path, MAX_LINES + 1, f"{len(lines)} lines: split it (at most {MAX_LINES})")
        elif len(lines) > WISHED_LINES:
            yield Finding(path, WISHED_LINES + 1, f"{len(lines)} lines: better below {WISHED_LINES}", is_error=False)
    if is_code(path, text) or path.suffix in CHECKED_TEXT:
        for number, line in enumerate(lines, 1):
            for word in FORBIDDEN_WORDS:
                if word in line:
                    yield Finding(path, number, f"forbidden word {word}")


def named_types(text: str) -> Iterator[tuple[int, str]]:
    """Line and full name of the types that other files could see: those outside of unnamed namespaces and of others."""
    namespaces = []
    for number, line in enumerate(text.splitlines(), 1):
        if match := NAMESPACE.match(line):
            namespaces.append(match[1])
        elif NAMESPACE_END.match(line) and namespaces:
            namespaces.pop()
        elif (match := TYPE.match(line)) and "" not in namespaces:
            yield number, "::".join([*namespaces, match[1]])


def check_tree(root: Path) -> list[Finding]:
    findings = []
    types = {}  # full name: the file that defined it first
    for path in list_files(root):
        data = (root / path).read_bytes()
        if len(data) > MAX_BYTES:
            findings.append(Finding(path, 1, f"{len(data)} bytes: no file above {MAX_BYTES} bytes belongs here"))
            continue
        text = data.decode("utf-8", errors="replace")
        findings += check_text(path, text)
        if path.suffix in CPP:
            for line, name in named_types(text):
                if types.setdefault(name, path) != path:
                    findings.append(Finding(path, line, f"{name} is defined in {types[name]} too"))
    return findings


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    findings = check_tree(root)
    for finding in findings:
        print(finding)
    errors = sum(finding.is_error for finding in findings)
    print(f"check_includes: {errors} errors, {len(findings) - errors} warnings", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
