"""The wheel works without a checkout; the source distribution has all files of the repository."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
import typing
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import engine.asgi
from tests.support.distributions import GIVEN, Distributions, distributions
from tests.support.repository import ROOT, is_checkout, tracked_files
from tests.support.times import START

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
#: Files that no distribution may contain: caches, environments, credentials.
UNWANTED = re.compile(
    r"(^|/)(__pycache__|\.git|\.venv[^/]*|\.\w+_cache|\.hypothesis|node_modules|dist|build)/"
    r"|\.pyc$|(^|/)\.env(\.|$)|\.(key|p12|pfx)$|(^|/)(\.netrc|\.pypirc|id_\w+)$"
)
PRIVATE_KEY = re.compile(rb"^-----BEGIN [A-Z ]*PRIVATE KEY-----", re.MULTILINE)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return distributions(tmp_path_factory.mktemp("distributions"))


@pytest.fixture(scope="module")
def unpacked(built: Distributions) -> Path:
    """The unpacked content of the wheel."""
    return built.wheel_content


def names(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def metadata(text: str) -> Message:
    return Parser().parsestr(text)


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


def test_both_have_the_same_metadata_and_license(built: Distributions) -> None:
    (info,) = built.wheel_content.glob("*.dist-info")
    of_wheel = metadata((info / "METADATA").read_text("utf-8"))
    assert of_wheel.items() == metadata((built.sdist_content / "PKG-INFO").read_text("utf-8")).items()
    assert (of_wheel["Name"], of_wheel["Version"]) == ("dragoman", PROJECT["version"])
    assert built.wheel.name == f"dragoman-{PROJECT['version']}-py3-none-any.whl"
    assert built.sdist.name == f"dragoman-{PROJECT['version']}.tar.gz"
    assert (of_wheel["License-Expression"], of_wheel.get_all("License-File")) == ("MIT", ["LICENSE"])
    assert of_wheel["Requires-Python"] == PROJECT["requires-python"]
    assert of_wheel.get_all("Project-URL") == [f"{name}, {url}" for name, url in PROJECT["urls"].items()]
    assert of_wheel["Description-Content-Type"] == "text/markdown"
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert text.startswith("MIT License\n\nCopyright (c) 2026 Dragoman contributors\n")
    assert (info / "licenses/LICENSE").read_text("utf-8") == text
    assert (built.sdist_content / "LICENSE").read_text("utf-8") == text


def test_they_have_no_caches_and_no_credentials(built: Distributions) -> None:
    for folder in (built.wheel_content, built.sdist_content):
        assert not [name for name in names(folder) if UNWANTED.search(name)]
        files = [folder / name for name in names(folder)]
        assert not [file for file in files if PRIVATE_KEY.search(file.read_bytes())]


@pytest.mark.parametrize(
    "name", [".env", "a/.env.local", "x/__pycache__/m.cpython-311.pyc", "tls/server.key", ".pypirc"]
)
def test_unwanted_files_are_found(name: str) -> None:
    assert UNWANTED.search(name)


def test_the_source_distribution_has_all_tracked_files(built: Distributions) -> None:
    """So the tests, the documents and the image can be built from it."""
    contained = set(names(built.sdist_content)) - {"PKG-INFO"}
    assert set(tracked_files()) <= contained
    if GIVEN and is_checkout():
        assert contained <= set(tracked_files()), "a release contains no untracked file"


@pytest.mark.skipif(not GIVEN, reason="make release-check runs the tests of the source distribution")
def test_its_tests_can_be_run(built: Distributions) -> None:
    """All test modules can be imported there, and the tests pass that need no server."""

    def pytest_(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=built.sdist_content,
            env={name: value for name, value in os.environ.items() if name != "DRAGOMAN_DIST"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr

    pytest_("--collect-only")
    pytest_("tests/http", "tests/test_reference.py", "tests/test_version.py")


def test_its_schema_is_that_of_the_checkout(unpacked: Path) -> None:
    done = dragoman(unpacked, "schema")
    assert json.loads(done.stdout) == json.loads((ROOT / "schema/mapping.schema.json").read_text())


def test_its_mappings_are_found_by_name(unpacked: Path) -> None:
    done = dragoman(unpacked, "validate", "ollama-over-openai", "openai-over-ollama", "demo")
    assert done.returncode == 0
    assert done.stdout.endswith("\n3 files: no errors or warnings, 2 notes\n"), "no keys are set"
    done = dragoman(unpacked, "test", "demo", "local-models")
    assert done.returncode == 0, "their tests need no file outside of the wheel: " + done.stdout + done.stderr


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
