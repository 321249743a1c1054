"""The repository's own files, in a Git checkout and in an unpacked source distribution."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Paths that `make` and the tools create, in a folder without Git.
_CREATED = re.compile(
    r"(^|/)(__pycache__|node_modules|build|dist|\.venv[^/]*|\.git|\.\w+_cache|\.hypothesis)/|\.pyc$|^PKG-INFO$"
)


def is_checkout(root: Path = ROOT) -> bool:
    """Whether `root` is the top of a Git checkout, and Git can read it."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--show-toplevel"], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0 and Path(done.stdout.strip()).resolve() == root.resolve()


def tracked_files(root: Path = ROOT) -> list[str]:
    """Returns the tracked files that exist, as paths with slashes; without Git, all that no tool created."""
    if is_checkout(root):
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True, encoding="utf-8"
        )
        names = [name for name in listed.stdout.split("\0") if name]
    else:
        names = [file.relative_to(root).as_posix() for file in root.rglob("*")]
    return sorted(name for name in names if not _CREATED.search(name) and (root / name).is_file())
