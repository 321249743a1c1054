"""The built distributions: those in DRAGOMAN_DIST (`make release-check`), or built from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.repository import ROOT

#: The folder that contains the distributions to publish; set by `make release-check`.
GIVEN = os.environ.get("DRAGOMAN_DIST")


@dataclass(frozen=True, slots=True)
class Distributions:
    """The wheel and the source distribution, and the folders that they are unpacked in."""

    wheel: Path
    sdist: Path
    wheel_content: Path
    sdist_content: Path


def distributions(folder: Path) -> Distributions:
    """Returns the distributions, built and unpacked in `folder`.

    Raises:
        AssertionError: DRAGOMAN_DIST has other files, or more than one version.
    """
    built = ROOT / GIVEN if GIVEN else _build(folder / "dist")
    assert len(list(built.iterdir())) == 2, f"{built} contains one wheel and one source distribution"
    (wheel,) = built.glob("dragoman-*.whl")
    (sdist,) = built.glob("dragoman-*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "sdist", filter="data")
    (top,) = (folder / "sdist").iterdir()
    assert top.name == sdist.name.removesuffix(".tar.gz")
    return Distributions(wheel, sdist, folder / "wheel", top)


def _build(folder: Path) -> Path:
    """Builds by the backend of this environment, which the locks pin, so no package index is needed."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
