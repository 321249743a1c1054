"""The files for editors, hooks and a public forge: they are valid, and what they name exists."""

from __future__ import annotations

import re
import shlex
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from deploy.release import notes, sections
from tests.support.commands import command
from tests.support.repository import ROOT, tracked_files
from tests.support.times import START

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
FORMS = sorted(file for file in ROOT.glob(".github/ISSUE_TEMPLATE/*.yml") if file.name != "config.yml")
#: An action, its commit and the comment with its release; the one exception is published by its branch alone.
_PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
_BRANCH = "pypa/gh-action-pypi-publish@release/v1"


def name_of(file: Path) -> str:
    return file.name


def load(file: Path) -> dict[str, Any]:
    """Reads YAML 1.1, in which the key `on` is true."""
    data = yaml.safe_load(file.read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in data.items()}


def steps(workflow: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each step of a workflow with the name of its job."""
    for name, job in workflow["jobs"].items():
        for step in job["steps"]:
            yield name, step


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text("utf-8")
    (listed,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    return set(listed.split())


# The workflows


def test_there_are_workflows() -> None:
    assert [file.name for file in WORKFLOWS] == ["ci.yml", "release.yml"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=name_of)
def test_actions_are_pinned(file: Path) -> None:
    used = re.findall(r"uses: (.*)$", file.read_text("utf-8"), re.MULTILINE)
    assert used
    assert not [action for action in used if not _PINNED.fullmatch(action) and action != _BRANCH]
    releases = {action.partition("@")[0]: action for action in used}
    assert set(releases.values()) == set(used), "an action has one release"


@pytest.mark.parametrize("file", WORKFLOWS, ids=name_of)
def test_jobs_have_few_rights_and_an_end(file: Path) -> None:
    workflow = load(file)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        assert set(job.get("needs", "").split()) <= set(workflow["jobs"])
    checkouts = [step for _, step in steps(workflow) if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert "secrets." not in file.read_text("utf-8")


@pytest.mark.parametrize("file", WORKFLOWS, ids=name_of)
def test_what_steps_run_exists(file: Path) -> None:
    for _, step in steps(load(file)):
        if "run" in step:
            words = shlex.split(step["run"])
            check_command(words)
            check_files(words)


def check_command(words: list[str]) -> None:
    match words:
        case ["make", *targets]:
            assert {word for word in targets if "=" not in word} <= make_targets()
        case ["dragoman", name, *_]:
            command(name)
        case ["python", "-m", module, *_]:
            assert module in ("pip", "pytest")
        case ["python", script, *_]:
            assert (ROOT / script).is_file()
        case [".ci/run"]:
            assert (ROOT / ".ci/run").stat().st_mode & stat.S_IXUSR
        case _:
            assert words[:3] == ["gh", "release", "create"], f"{words} is not checked"


def check_files(words: list[str]) -> None:
    for option, value in pairwise(words):
        if option == "--requirement":
            assert (ROOT / value).is_file()
    for word in words:
        if word.startswith("@"):
            assert (ROOT / word[1:]).is_file()


def test_each_supported_python_is_tested() -> None:
    prefix = "Programming Language :: Python :: "
    named = {text.removeprefix(prefix) for text in PROJECT["classifiers"] if text.startswith(prefix + "3.")}
    jobs = load(ROOT / ".github/workflows/ci.yml")["jobs"]
    assert set(jobs["linux"]["strategy"]["matrix"]["python"]) == named
    assert all(version in SpecifierSet(PROJECT["requires-python"]) for version in named)
    oldest = min(named, key=lambda version: int(version.partition(".")[2]))
    assert PROJECT["requires-python"] == f">={oldest}"
    assert PYPROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    desktop = jobs["desktop"]["strategy"]["matrix"]
    assert set(desktop["python"]) <= named
    assert desktop["os"] == ["macos-latest", "windows-latest"]


def test_the_complete_check_runs_on_linux() -> None:
    workflow = load(ROOT / ".github/workflows/ci.yml")
    runs = {
        job: [step["run"] for name, step in steps(workflow) if name == job and "run" in step]
        for job in workflow["jobs"]
    }
    assert runs["linux"] == [".ci/run"]
    assert runs["distributions"] == ["make release-check"]
    assert {"push", "pull_request"} <= set(workflow["on"])


def test_a_release_is_checked_and_published_without_a_token() -> None:
    workflow = load(ROOT / ".github/workflows/release.yml")
    assert workflow["on"] == {"push": {"tags": ["v*"]}}
    publish = workflow["jobs"]["publish"]
    assert publish["needs"] == "build"
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"]
    assert all("run" not in step for step in publish["steps"]), "no other code runs with that right"
    assert 'make release-check TAG="$GITHUB_REF_NAME"' in [step.get("run") for _, step in steps(workflow)]


def test_the_fast_tests_are_those_of_make() -> None:
    entries = (ROOT / "tests/fast.txt").read_text("utf-8").splitlines()
    assert all(entry.startswith("--ignore-glob=") or (ROOT / entry).exists() for entry in entries)
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    for text in (workflow, (ROOT / "Makefile").read_text("utf-8")):
        assert "python -m pytest" in text
        assert "--dist worksteal @tests/fast.txt" in text


# Updates, forms, hooks, editors


def test_updates_cover_all_manifests() -> None:
    manifests = {"pip": "pyproject.toml", "docker": "Dockerfile", "npm": "package-lock.json"}
    manifests["github-actions"] = ".github/workflows"
    updates = load(ROOT / ".github/dependabot.yml")
    assert updates["version"] == 2
    assert {update["package-ecosystem"] for update in updates["updates"]} == set(manifests)
    for update in updates["updates"]:
        folder = ROOT / update["directory"].strip("/")
        assert (folder / manifests[update["package-ecosystem"]]).exists()
        assert update["schedule"]["interval"] in ("daily", "weekly", "monthly")


@pytest.mark.parametrize("file", FORMS, ids=name_of)
def test_a_form_is_complete(file: Path) -> None:
    form = load(file)
    assert form["name"]
    assert form["description"]
    fields = [element for element in form["body"] if element["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields if field["type"] != "checkboxes")
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_a_bug_report_has_what_is_needed_to_reproduce_it() -> None:
    form = load(ROOT / ".github/ISSUE_TEMPLATE/bug_report.yml")
    fields = {element["id"]: element for element in form["body"] if "id" in element}
    required = {name for name, field in fields.items() if field.get("validations", {}).get("required")}
    assert {"behavior", "mapping", "validate", "version"} <= required
    assert "--version" in fields["version"]["attributes"]["label"]
    for name in ("validate", "explain"):
        command(name)
        assert f"dragoman {name}" in fields[name]["attributes"]["label"]
    assert "Remove secrets" in form["body"][0]["attributes"]["value"]
    assert fields["secrets"]["attributes"]["options"][0]["required"] is True


def test_hooks_use_the_pinned_tools() -> None:
    (repository,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local", "no other repository is downloaded"
    entries = {hook["id"]: shlex.split(hook["entry"]) for hook in repository["hooks"]}
    assert {"ruff-check", "ruff-format", "mypy", "validate"} == set(entries)
    assert all(hook["language"] == "system" for hook in repository["hooks"])
    assert all(words[:2] == [".venv/bin/python", "-m"] for words in entries.values())
    assert {words[2] for words in entries.values()} == {"ruff", "mypy", "cli"}
    command(entries["validate"][3])
    assert all((ROOT / path).is_dir() for path in entries["validate"][4:])
    for hook in repository["hooks"]:
        if "files" in hook:
            assert any(re.search(hook["files"], name) for name in tracked_files())


def editor_settings() -> dict[str, dict[str, str]]:
    settings: dict[str, dict[str, str]] = {}
    section = ""
    for line in (ROOT / ".editorconfig").read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line[1:-1]
        elif "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            settings.setdefault(section, {})[name.strip()] = value.strip()
    return settings


def test_editors_have_the_style_of_ruff() -> None:
    settings = editor_settings()
    assert settings["*.py"]["max_line_length"] == str(PYPROJECT["tool"]["ruff"]["line-length"])
    assert settings["*.py"]["indent_size"] == "4"
    assert (settings["*"]["indent_style"], settings["*"]["indent_size"]) == ("space", "2")
    assert settings["Makefile"]["indent_style"] == "tab"


def test_files_have_the_style_of_the_editors() -> None:
    """LF, UTF-8 without a byte order mark, no trailing space, one line end at the end."""
    wrong = []
    for name in tracked_files():
        if not name.startswith(("tests/suites/", "mappings/testdata/")):
            data = (ROOT / name).read_bytes()
            text = data.decode("utf-8")
            trailing = re.search(r"[ \t]+$", text, re.MULTILINE)
            if b"\r" in data or text.startswith("\ufeff") or trailing or (data and not data.endswith(b"\n")):
                wrong.append(name)
    assert not wrong


def test_line_ends_are_the_same_on_all_systems() -> None:
    assert "* text=auto eol=lf\n" in (ROOT / ".gitattributes").read_text("utf-8")


# The documents


def test_every_target_of_make_is_documented_and_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = set(re.findall(r"`make ([\w-]+)", text))
    assert named <= make_targets()
    new = {"image", "image-test", "release-check", "release-notes"}
    assert new <= named
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert {
        target for target in make_targets() if re.search(rf"^{target}:", makefile, re.MULTILINE)
    } == make_targets()


@pytest.mark.parametrize("target", ["release-check", "image-test", "test-fast", "lock"])
def test_the_recipes_are_complete(target: str) -> None:
    """Each file that a recipe names exists."""
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=START,
        check=True,
    )
    words = set(re.findall(r"(?:tests|deploy)/[\w./-]+", done.stdout))
    assert words
    assert not [word for word in words if not (ROOT / word).exists()]


def test_the_security_policy_leads_to_the_documents() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    links = re.findall(r"\]\(([^):]+)\)", text)
    assert {"docs/security.md", "CHANGELOG.md"} <= set(links)
    assert all((ROOT / link).exists() for link in links)
    assert "SECURITY.md" in (ROOT / ".github/ISSUE_TEMPLATE/bug_report.yml").read_text("utf-8")


def test_release_notes_of_the_newest_section_can_be_extracted() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    newest = next(iter(sections(changelog)))
    assert notes(newest, changelog).startswith(("-", "#", "*")) or notes(newest, changelog)[0].isalpha()
