"""The wheel contains all files that are needed at run time, and works without a checkout."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import engine.asgi
from tests.support.times import START
from tests.support.wheel import unpacked_wheel

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked content of the wheel."""
    return unpacked_wheel(tmp_path_factory.mktemp("wheel"))


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


def test_its_types_can_be_used(unpacked: Path) -> None:
    """PEP 561: `py.typed` is in the wheel, and what is public has types."""
    assert (unpacked / "engine/py.typed").is_file()
    public = (engine.asgi, engine)
    for name, value in ((name, getattr(module, name)) for module in public for name in module.__all__):
        if inspect.isfunction(value):
            assert typing.get_type_hints(value).keys() == {*inspect.signature(value).parameters, "return"}, (
                name
            )


def test_its_application_can_be_created(unpacked: Path) -> None:
    code = "import engine.asgi as a; print(a.__file__); a.create_app(['demo'], environ={}, strict=True)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=unpacked,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(unpacked / "engine/asgi.py")), done.stderr
