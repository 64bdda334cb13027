"""A scratch folder in which the commands of documentation and golden tests run.

It looks like the repository root, yet nothing a command writes there reaches the repository: folders that a
command might write to (`calibrate -o calibration/host.toml`) are copies, the others are links.
"""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("models", "topologies", "calibration", "recipes", "reports")
LINKED = ("scripts", "tests", "docs")


def fill(folder: Path, orrery: Path, root: Path = ROOT) -> None:
    """Makes `folder` look like the repository, with the executable at build/release/orrery."""
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("node_modules"))
    for name in LINKED:
        if (root / name).is_dir():
            (folder / name).symlink_to(root / name)
    (folder / "build" / "release").mkdir(parents=True)
    (folder / "build" / "release" / "orrery").symlink_to(orrery.resolve())


def environment(**extra: str) -> dict[str, str]:
    """The caller's environment without what changes output: colours, locale, orrery's own settings."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("ORRERY_", "LC_")) and name not in ("LANG", "CLICOLOR_FORCE")}
    return kept | {"LC_ALL": "C.UTF-8", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"} | extra
