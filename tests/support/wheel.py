"""The wheel of the project, for tests that must not see the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def unpacked_wheel(folder: Path) -> Path:
    """Builds the wheel in `folder`, and returns a directory with its unpacked content."""
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)],
        check=True,
        timeout=600,
    )
    (wheel,) = folder.glob("dragoman-*.whl")
    content = folder / "content"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(content)
    return content
