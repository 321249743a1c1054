"""The version is in pyproject.toml; files that repeat it have the same one, and are listed here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from engine import distribution_version
from engine.compiler.files import LANGUAGE
from tests.support.repository import tracked_files

ROOT = Path(__file__).parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

#: Each file that repeats the version, and what precedes it there.
COPIES = {
    "engine/resources.py": ['_VERSION: Final = "'],
    "Dockerfile": ["ARG VERSION="],
    "docker-compose.yml": ["image: dragoman:"],
    "deploy/kubernetes/kustomization.yaml": ["newTag: "],
    "deploy/helm/dragoman/Chart.yaml": ["\nversion: ", "appVersion: "],
}
_LOCKS = re.compile(r"\.lock$|package-lock\.json$")


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_the_version_of_the_project(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    found = {prefix: re.findall(re.escape(prefix) + r"([\w.+-]+)", text) for prefix in COPIES[name]}
    assert {prefix: set(versions) for prefix, versions in found.items()} == {
        prefix: {VERSION} for prefix in COPIES[name]
    }


def test_there_are_no_other_copies() -> None:
    version = re.compile(rf"(?<![\d.]){re.escape(VERSION)}(?![\d.])")
    found = {
        name
        for name in tracked_files()
        if not _LOCKS.search(name) and version.search((ROOT / name).read_text("utf-8", "replace"))
    }
    assert found - {"CHANGELOG.md"} == {"pyproject.toml", *COPIES}


def test_the_engine_reports_it() -> None:
    assert distribution_version() == VERSION


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## (.*)", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+] - \d{4}-\d\d-\d\d", version) for version in versions[1:])
    assert versions[1].startswith(f"[{VERSION}] "), "the newest version is that of the project"
    sections = re.findall(r"^### (.*)", text, re.MULTILINE)
    assert set(sections) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    changes = text[text.index("\n## ") :].splitlines()
    assert all(re.match(r"- |  \S|#{2,3} |$", line) for line in changes), "each change is an item of a list"


@pytest.mark.parametrize("name", ["mapping", "suite"])
def test_a_schema_has_the_version_of_the_language(name: str) -> None:
    text = (ROOT / f"schema/{name}.schema.json").read_text("utf-8")
    assert f'"$id": "urn:dragoman:{name}:{LANGUAGE}"' in text
