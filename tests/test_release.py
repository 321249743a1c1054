"""Release notes, what prevents publishing, and the wheel installed in an environment without a checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from deploy import release
from engine import distribution_version
from tests.support.distributions import GIVEN, distributions
from tests.support.repository import ROOT
from tests.support.server import dragoman_server
from tests.support.times import START

CHANGELOG = """\
# Changelog

## Unreleased

- Something new.

## [1.1.0] - 2026-02-01

### Added

- `--option`.

## v1.0.0

- The first release.

## 0.9.0
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository without Git that can be published."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1.1.0"\nurls = { Source = "https://forge.dragoman.dev/x" }\n',
        "utf-8",
    )
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, "utf-8")
    return tmp_path


# The notes


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("Unreleased", "- Something new."),
        ("1.1.0", "### Added\n\n- `--option`."),
        ("1.0.0", "- The first release."),
    ],
)
def test_the_notes_of_a_version_are_its_section(version: str, expected: str) -> None:
    assert release.notes(version, CHANGELOG) == expected


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("2.0.0", r"no section '## 2.0.0' \(sections: Unreleased, 1.1.0, 1.0.0, 0.9.0\)"),
        ("1.0", r"no section '## 1.0' "),
        ("0.9.0", r"'## 0.9.0' is empty"),
    ],
)
def test_missing_notes_are_an_error(version: str, message: str) -> None:
    with pytest.raises(release.ReleaseError, match=message):
        release.notes(version, CHANGELOG)


def test_notes_are_printed(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["notes"], repository) == 0
    assert release.main(["notes", "v1.0.0"], repository) == 0
    assert capsys.readouterr().out == "### Added\n\n- `--option`.\n- The first release.\n"
    assert release.main(["notes", "3"], repository) == 1
    assert capsys.readouterr().err.startswith("error: CHANGELOG.md has no section '## 3'")


def test_the_changelog_has_sections() -> None:
    found = release.sections((ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert {"Unreleased", distribution_version()} & set(found)
    assert all(found.values()), "no section is empty"


def test_it_runs_without_dependencies() -> None:
    """Before anything is installed: -S hides site-packages."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "deploy/release.py", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# What prevents publishing


def test_a_complete_repository_can_be_published(repository: Path) -> None:
    assert release.problems(repository, "v1.1.0") == []
    assert release.main(["check", "--tag", "v1.1.0"], repository) == 0


@pytest.mark.parametrize("tag", ["v1.2.0", "1.1.0", "v1.1.0rc1"])
def test_the_tag_is_the_version(repository: Path, tag: str) -> None:
    (problem,) = release.problems(repository, tag)
    assert problem == f"the tag is '{tag}', the version in pyproject.toml is 1.1.0: use 'v1.1.0'"


def test_a_version_without_a_section_is_not_published(repository: Path) -> None:
    (repository / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- x\n", "utf-8")
    (problem,) = release.problems(repository, None)
    assert problem.startswith("CHANGELOG.md has no section '## 1.1.0'")


@pytest.mark.parametrize(
    "host", ["dragoman.example", "example.com", "git.example.org", "localhost:3000", "x.invalid"]
)
def test_reserved_domains_are_not_published(repository: Path, host: str) -> None:
    text = (repository / "pyproject.toml").read_text("utf-8")
    (repository / "pyproject.toml").write_text(text.replace("forge.dragoman.dev", host), "utf-8")
    (problem,) = release.problems(repository, None)
    assert problem.endswith(f"project.urls.Source has a reserved domain: https://{host}/x")


def test_uncommitted_changes_are_not_published(repository: Path) -> None:
    subprocess.run(["git", "init", "--quiet", "."], cwd=repository, check=True, timeout=START)
    subprocess.run(["git", "add", "pyproject.toml"], cwd=repository, check=True, timeout=START)
    (problem,) = release.problems(repository, None)
    assert problem == "there are uncommitted changes: pyproject.toml, CHANGELOG.md"


def test_problems_are_errors_only_with_a_tag(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "CHANGELOG.md").write_text("# Changelog\n", "utf-8")
    assert release.main(["check"], repository) == 0
    assert "warning: not ready to publish: CHANGELOG.md has no section" in capsys.readouterr().err
    assert release.main(["check", "--tag", "v1.1.0"], repository) == 1
    assert "error: CHANGELOG.md has no section '## 1.1.0' (sections: none)" in capsys.readouterr().err


# The installed wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of a new environment that has only the wheel and its dependencies."""
    if not GIVEN:
        pytest.skip("make release-check installs the wheel")
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env", with_pip=True)
    commands = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    wheel = distributions(folder).wheel
    for arguments in (("install", "--quiet", str(wheel)), ("check",)):
        done = subprocess.run(
            [str(commands / "python"), "-m", "pip", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return commands


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory outside of the repository, and no PYTHONPATH that leads to it."""
    folder = tmp_path / "some where ü"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return folder


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(installed / "dragoman"), *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=START,
        check=False,
    )


def test_the_installed_command_has_the_version(installed: Path, elsewhere: Path) -> None:
    code = "import cli, engine; print(cli.__file__, engine.__file__, sep='\\n')"
    done = subprocess.run(
        [str(installed / "python"), "-c", code], capture_output=True, text=True, timeout=START, check=True
    )
    modules = [Path(line) for line in done.stdout.splitlines()]
    assert all(module.is_relative_to(installed.parent) for module in modules), "the checkout is not used"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    done = run(installed, "--version")
    assert done.returncode == 0, done.stderr
    assert re.search(r"[\d.]+\S*", done.stdout)[0] == version  # type: ignore[index]


def test_the_installed_mappings_are_valid_and_pass_their_tests(installed: Path, elsewhere: Path) -> None:
    mappings = sorted(file.stem for file in (ROOT / "mappings").glob("*.yaml") if ".test." not in file.name)
    for command in ("validate", "test"):
        done = run(installed, command, *mappings)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_installed_command_serves_from_any_directory(installed: Path, elsewhere: Path) -> None:
    """A shipped mapping by its name, and a file in the working directory."""
    (elsewhere / "hello.yaml").write_text(
        "dragoman: 1\nroutes: { GET /hello: { respond: { body: hello } } }\n", "utf-8"
    )
    command = [str(installed / "dragoman")]
    with dragoman_server(
        ("demo", "hello.yaml"), env={"PYTHONPATH": ""}, command=command, folder=elsewhere
    ) as server:
        assert server.get("/hello").text == "hello"
        response = server.get("/demo/api/tags")
        assert (response.status, response.header("content-type")) == (200, "application/json")
        assert response.json["models"][0]["name"]
