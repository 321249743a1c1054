"""The wheel contains all files that are needed at run time, and works without a checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from engine import distribution_version
from tests.support.times import START

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked content of the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
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


def dragoman(unpacked: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command of the wheel in a folder without a checkout."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "cli", *arguments],
        cwd=unpacked,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )


def test_it_contains_the_packages_and_their_data_only(unpacked: Path) -> None:
    tops = {path.name for path in unpacked.iterdir()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"cli", "engine"}
    for folder in ("schema", "mappings"):
        shipped = {p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob("*") if p.is_file()}
        packed = {
            p.relative_to(unpacked / "engine/data" / folder)
            for p in (unpacked / "engine/data" / folder).rglob("*")
            if p.is_file()
        }
        assert packed == shipped


def test_its_schema_is_that_of_the_checkout(unpacked: Path) -> None:
    done = dragoman(unpacked, "schema")
    assert json.loads(done.stdout) == json.loads((ROOT / "schema/mapping.schema.json").read_text())


def test_its_mappings_are_found_by_name(unpacked: Path) -> None:
    done = dragoman(unpacked, "validate", "ollama-over-openai", "openai-over-ollama", "demo")
    assert done.returncode == 0
    assert done.stdout.endswith("\n0 errors, 2 warnings in 3 files\n"), "no keys are set"
    done = dragoman(unpacked, "test", "demo")
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert distribution_version() == project["version"]
