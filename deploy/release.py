"""Checks whether the repository can be released, and prints the release notes of a version.

    python deploy/release.py notes [VERSION]        the section of CHANGELOG.md
    python deploy/release.py check [--tag v1.2.3]   what prevents publishing; an error only if a tag is given

Contract: Python's standard library only, so that it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent

#: The heading of a section: `## 1.2.3`, `## [v1.2.3] - 2026-01-31` or `## Unreleased`.
_HEADING = re.compile(r"^## \[?v?(?P<name>[\w.+-]+)\]?(?P<rest>[^\n]*)$", re.MULTILINE)
#: Domains that RFC 2606 reserves for documentation.
_RESERVED_DOMAINS = re.compile(r"(^|\.)(example|example\.(com|net|org)|invalid|test|localhost)$")


class ReleaseError(Exception):
    """A request that cannot be fulfilled, with a message for the user."""


def project(root: Path = ROOT) -> dict[str, Any]:
    """Returns the table `project` of pyproject.toml."""
    return dict(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"])


def sections(changelog: str) -> dict[str, str]:
    """Returns the text of each section of the changelog by its version, in the order of the file."""
    headings = list(_HEADING.finditer(changelog))
    ends = [heading.start() for heading in headings[1:]] + [len(changelog)]
    return {
        heading["name"]: changelog[heading.end() : end].strip()
        for heading, end in zip(headings, ends, strict=False)  # without a heading, only the end is left
    }


def notes(version: str, changelog: str) -> str:
    """Returns the release notes of a version.

    Raises:
        ReleaseError: the changelog has no section for it, or an empty one.
    """
    found = sections(changelog)
    if version not in found:
        listed = ", ".join(found) or "none"
        raise ReleaseError(f"CHANGELOG.md has no section '## {version}' (sections: {listed})")
    if not found[version]:
        raise ReleaseError(f"CHANGELOG.md: the section '## {version}' is empty")
    return found[version]


def problems(root: Path, tag: str | None) -> list[str]:
    """Returns what prevents publishing the repository at `root`, by `tag` if one is given."""
    described = project(root)
    version = str(described["version"])
    found = []
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag is '{tag}', the version in pyproject.toml is {version}: use 'v{version}'")
    try:
        notes(version, (root / "CHANGELOG.md").read_text("utf-8"))
    except ReleaseError as error:
        found.append(str(error))
    for name, url in described.get("urls", {}).items():
        if _RESERVED_DOMAINS.search(urlsplit(url).hostname or ""):
            found.append(f"pyproject.toml: project.urls.{name} has a reserved domain: {url}")
    if changed := _changed_files(root):
        found.append(f"there are uncommitted changes: {', '.join(changed)}")
    return found


def _changed_files(root: Path) -> list[str]:
    """Returns changed and untracked files; none outside of a Git checkout."""
    if not (root / ".git").exists():
        return []
    done = subprocess.run(
        ["git", "status", "--porcelain"], cwd=root, capture_output=True, encoding="utf-8", check=True
    )
    return [line[3:] for line in done.stdout.splitlines()]


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Runs a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="release.py", description="Check a release, print its notes.")
    commands = parser.add_subparsers(dest="command", required=True)
    printing = commands.add_parser("notes", help="print the release notes of a version")
    printing.add_argument("version", nargs="?", help="default: the version in pyproject.toml")
    checking = commands.add_parser("check", help="report what prevents publishing")
    checking.add_argument("--tag", help="the tag to publish; problems are errors")
    given = parser.parse_args(arguments)
    if given.command == "notes":
        return _print_notes(root, given.version)
    return _check(root, given.tag)


def _print_notes(root: Path, version: str | None) -> int:
    chosen = (version or str(project(root)["version"])).removeprefix("v")
    try:
        print(notes(chosen, (root / "CHANGELOG.md").read_text("utf-8")))
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _check(root: Path, tag: str | None) -> int:
    found = problems(root, tag)
    severity = "warning: not ready to publish" if tag is None else "error"
    for problem in found:
        print(f"{severity}: {problem}", file=sys.stderr)
    return 1 if found and tag is not None else 0


if __name__ == "__main__":
    sys.exit(main())
