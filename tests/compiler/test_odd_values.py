"""Loading a mapping with odd values and keys ends with plans or findings, never with an exception.

Each value of a mapping that uses every feature is replaced by each odd value, and each of its objects gets
each odd key. The fast form of the test uses a seeded sample.
"""

from __future__ import annotations

import copy
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine import Findings, compile_set, load
from tests.support.times import TORTURE

GOOD = Path(__file__).parent.parent / "suites" / "good"
DEEP = "[" * 300 + "]" * 300
ENVIRON = {"CLIENT_KEYS": "key", "API_KEY": "upstream-key"}

VALUES: list[Any] = [
    *(
        f"${{ `{literal}` }}"
        for literal in (DEEP, "5", '{"a b": [1], "x": null}', "null", "[]", "true", "1e300")
    ),
    *(f"${{ `{literal}` }}" for literal in ('"a\\nb"', '["x", 1, null, {}]', '{"name": 5, "value": "v"}')),
    f"x ${{ `{DEEP}` }}",
    *("a\nb", "", "\u2028é\x85", "${", "$$x", "x" * 5000, "a\0b", "${ $vars.limits }"),
    {"$value": f"${{ `{DEEP}` }}"},
    *({"$file": path} for path in ("/dev/null", "shared", "x" * 5000, "a\0b", ".")),
    {"$if": "${ `1` }", "$then": {"a\nb": 1}},
    *([["x"]], None, 5, -1, 1e400, True, {}),
]
KEYS: list[tuple[str, Any]] = [
    ("$$x", "a\nb"),
    ("$x", "a"),
    ("a\nb", "c"),
    ("$spread", '${ `{"a b": 1, "host": "\\n"}` }'),
    ("$spread", f"${{ `{DEEP}` }}"),
    ("$each", "${ `[1]` }"),
    ("$value", "x"),
    ("$let", {"a": "${ b }"}),
]


def values_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value of a document, with its path."""
    yield path, value
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, item in entries:
        yield from values_of(item, (*path, key))


def changes(document: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """Every change: the path to set, and the odd value."""
    found: list[tuple[tuple[Any, ...], Any]] = []
    for path, value in values_of(document):
        if path:
            found += ((path, odd) for odd in VALUES)
        if isinstance(value, dict):
            found += (((*path, key), odd) for key, odd in KEYS)
    return found


def changed(document: Any, path: tuple[Any, ...], odd: Any) -> Any:
    result = copy.deepcopy(document)
    parent = result
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = odd
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Path = tmp_path_factory.mktemp("odd") / "good"
    shutil.copytree(GOOD, found)
    return found


def test_odd_values_and_keys_raise_nothing(folder: Path) -> None:
    document = yaml.load((GOOD / "everything.yaml").read_text("utf-8"), yaml.CSafeLoader)
    found = changes(document)
    assert len(found) > 5000
    file = folder / "odd.yaml"
    for path, odd in found if TORTURE else random.Random(7).sample(found, 150):
        file.write_text(yaml.safe_dump(changed(document, path, odd), allow_unicode=True, width=1 << 20))
        findings = Findings()
        try:
            compile_set(load([file], findings), ENVIRON, findings)
        except Exception as error:
            raise AssertionError(f"{path}: {odd!r:.60}") from error


UPSTREAMS = ("upstreams", "api")


@pytest.mark.parametrize(
    ("path", "odd"),
    [
        *(((*UPSTREAMS, "headers", key), odd) for key, odd in KEYS),
        *(((*UPSTREAMS, "headers", "x-static"), odd) for odd in VALUES),
        *(((*UPSTREAMS, "auth", "bearer"), odd) for odd in VALUES),
        *(
            (("upstreams", "header", "auth", "header", key), odd)
            for key in ("name", "value")
            for odd in VALUES
        ),
        *((("upstreams", "query", "auth", "query", key), odd) for key in ("name", "value") for odd in VALUES),
        *(
            (("upstreams", "basic", "auth", "basic", key), odd)
            for key in ("username", "password")
            for odd in VALUES
        ),
        *((("include", 0), odd) for odd in VALUES),
    ],
    ids=lambda value: f"{value!r:.40}",
)
def test_odd_values_evaluated_at_load_raise_nothing(folder: Path, path: tuple[Any, ...], odd: Any) -> None:
    """Only the parts evaluated at load, so that all combinations run each time."""
    whole = yaml.load((GOOD / "everything.yaml").read_text("utf-8"), yaml.CSafeLoader)
    document = {key: whole[key] for key in ("dragoman", "env", "vars", "upstreams", "include")}
    file = folder / "part.yaml"
    file.write_text(yaml.safe_dump(changed(document, path, odd), allow_unicode=True, width=1 << 20))
    findings = Findings()
    compile_set(load([file], findings), ENVIRON, findings)
