"""Describes a path for which there are no mapping files, with the path that may have been meant.

Contract: reads the names in directories, never a file; a directory that cannot be read has no names.
"""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

#: Names of one directory to compare with.
_MAX_NAMES: Final = 1000
#: How similar a name must be to be suggested, from 0 to 1.
_SIMILARITY: Final = 0.6


def describe_missing(
    path: str, suffixes: tuple[str, ...], shipped: Iterable[str], tests: bool
) -> tuple[str, str | None]:
    """What is wrong with a path that gives no file, and a hint.

    Args:
        path: the path as the user wrote it.
        suffixes: the suffixes of mapping files.
        shipped: the names of the shipped mappings.
        tests: whether test files were searched.
    """
    if os.path.isdir(path):
        if tests:
            return f"no *.test.yaml file in the directory '{path}'", None
        return (
            f"no mapping in the directory '{path}'",
            "a mapping is a *.yaml file with the key 'routes' or 'upstreams'",
        )
    if os.path.exists(path) and not tests:
        return f"'{path}' is a suite of tests, not a mapping", "run it with 'dragoman test'"
    if os.path.exists(path):
        stem = os.path.splitext(path)[0]
        return f"no test file for '{path}'", f"expected '{stem}.test.yaml'"
    if glob.has_magic(path):
        return f"no file matches '{path}'", None
    near = _similar_path(path, suffixes)
    if os.path.dirname(path) or path.endswith(suffixes):
        return f"no such file: '{path}'", _did_you_mean(near)
    similar_names = difflib.get_close_matches(path, shipped, n=1, cutoff=_SIMILARITY)
    if similar_names or near is None:
        return f"unknown mapping '{path}'", _did_you_mean(*similar_names) or (
            "expected a file, a directory, a glob, or the name of a shipped mapping"
        )
    return f"no such file or directory: '{path}'", _did_you_mean(near)


def _did_you_mean(name: str | None = None) -> str | None:
    return None if name is None else f"did you mean '{name}'?"


def _similar_path(path: str, suffixes: tuple[str, ...]) -> str | None:
    """The existing path that differs in one misspelt component; None if there is none."""
    here, misspelt, rest = _split(path)
    names = difflib.get_close_matches(misspelt, _names(here, suffixes), n=3, cutoff=_SIMILARITY)
    candidates = (os.path.join(here, name, rest) if rest else os.path.join(here, name) for name in names)
    found = next(filter(os.path.exists, candidates), None)
    # Also a trailing slash is repeated, as people complete and copy paths.
    return found + "/" if found and path.endswith("/") and not found.endswith("/") else found


def _split(path: str) -> tuple[str, str, str]:
    """The longest existing directory of a path, the first component that does not exist, and the rest."""
    here, rest = os.path.split(path.rstrip("/"))
    below = ""
    while here and not os.path.isdir(here):
        above, name = os.path.split(here)
        if above == here:
            break
        here, rest, below = above, name, os.path.join(rest, below) if below else rest
    return here, rest, below


def _names(directory: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """The names of directories and YAML files."""
    try:
        with os.scandir(directory or ".") as entries:
            found = [
                entry.name
                for entry in islice(entries, _MAX_NAMES)
                if entry.is_dir() or entry.name.endswith(suffixes)
            ]
    except OSError:
        return
    yield from sorted(found)
