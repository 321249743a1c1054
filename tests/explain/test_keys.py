"""`explain` shows every key of the language, except those that are listed here with the reason.

A key is shown if the explanation of a mapping changes when the key is removed or has another value. The
mappings are those of `suites/good/`, which have every key, and `suites/explain/shop.yaml`.
"""

from __future__ import annotations

import copy
import functools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docs.generate import examples_of
from engine import Explainer, Findings, load, schema_text
from engine.language.yaml import parse

SUITES = Path(__file__).parents[1] / "suites"
FILES = (*sorted((SUITES / "good").glob("*.yaml")), SUITES / "explain/shop.yaml")
ENVIRON = {"API_KEY": "key-of-api", "CLIENT_KEYS": "key-of-client"}
SCHEMA: dict[str, Any] = json.loads(schema_text("mapping"))

#: Keys that `explain` does not show, with the reason.
NOT_SHOWN = {
    "client_key.sha256": "a digest is treated like the key itself",
    "mapping.dragoman": "there is only one version of the language",
}


@dataclass(frozen=True)
class Occurrence:
    """A key in a mapping, with its part of the schema."""

    file: Path
    path: tuple[Any, ...]
    part: dict[str, Any]
    is_required: bool


def resolved(part: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of the definition that a part refers to, and the part with the keywords of that definition."""
    for reference in (part, *part.get("allOf", ())):
        if "$ref" in reference:
            name = reference["$ref"].rpartition("/")[2]
            return name, {**SCHEMA["definitions"][name], **part}
    return "", part


def occurrences(
    value: Any, part: Any, name: str, path: tuple[Any, ...]
) -> Iterator[tuple[str, Any, Any, bool]]:
    """Each known key below a value: its name, path and part of the schema, and whether it is required."""
    if not isinstance(part, dict):
        return
    own, part = resolved(part)
    name = own or name
    if isinstance(value, list):
        items = part.get("items") or part.get("then", {}).get("items")
        for number, item in enumerate(value):
            yield from occurrences(item, items, name, (*path, number))
    for branch in ("then", "else") if "if" in part and not isinstance(value, list) else ():
        yield from occurrences(value, part.get(branch), name, path)
    for key, inner in value.items() if isinstance(value, dict) else ():
        known = part.get("properties", {}).get(key)
        if known is not None:
            yield f"{name}.{key}", (*path, key), known, key in part.get("required", ())
        yield from occurrences(
            inner, known or part.get("additionalProperties"), f"{name}.{key}", (*path, key)
        )


@functools.cache
def data_of(file: Path) -> Any:
    document = parse(file.name, file.read_bytes(), Findings())
    assert document is not None
    return document.data


def found() -> dict[str, list[Occurrence]]:
    keys: dict[str, list[Occurrence]] = {}
    for file in FILES:
        for name, path, part, is_required in occurrences(data_of(file), SCHEMA, "mapping", ()):
            keys.setdefault(name, []).append(Occurrence(file, path, part, is_required))
    return keys


def declared(part: dict[str, Any], name: str) -> Iterator[str]:
    """The keys of an object of the schema, and of the objects inside it that have no definition."""
    for key, inner in part.get("properties", {}).items():
        yield f"{name}.{key}"
        if not resolved(inner)[0]:
            yield from declared(inner, f"{name}.{key}")


OCCURRENCES = found()
KEYS = sorted(
    {
        *declared(SCHEMA, "mapping"),
        *(k for name, part in SCHEMA["definitions"].items() for k in declared(part, name)),
    }
    - set(declared(SCHEMA["definitions"]["template"], "template"))  # templates are shown as they are written
)


def explained(file: Path, directory: Path, data: Any) -> Any:
    """The explanation of a changed mapping, without locations."""
    changed = directory / file.parent.name / "changed.yaml"
    changed.write_text(json.dumps(data))
    mappings = load([changed], Findings())
    return [_without_locations(entry.as_data()) for entry in Explainer(mappings, ENVIRON).everything()]


@functools.cache
def unchanged(file: Path, directory: Path) -> Any:
    return explained(file, directory, data_of(file))


def _without_locations(data: dict[str, Any]) -> dict[str, Any]:
    below = [_without_locations(entry) for entry in data.get("below", ())]
    return {key: data.get(key) for key in ("label", "text", "value")} | {"below": below}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("keys") / "suites"
    shutil.copytree(SUITES / "good", directory / "good")
    shutil.copytree(SUITES / "explain", directory / "explain")
    return directory


def variants(occurrence: Occurrence, data: Any) -> Iterator[Any]:
    """The mapping without a key, and with each of the other values that the schema names."""
    _, part = resolved(occurrence.part)
    *path, last = occurrence.path

    def changed(*values: Any) -> Any:
        result = copy.deepcopy(data)
        parent = result
        for step in path:
            parent = parent[step]
        del parent[last]
        return result if not values else _set(result, occurrence.path, values[0])

    if not occurrence.is_required:
        yield changed()
    others = [
        *part.get("enum", ()),
        *examples_of(part),
        *([True, False] if part.get("type") == "boolean" else ()),
    ]
    yield from (changed(value) for value in others)


def _set(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    parent = data
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    return data


def is_shown(key: str, directory: Path) -> bool:
    for occurrence in OCCURRENCES[key]:
        data = data_of(occurrence.file)
        before = unchanged(occurrence.file, directory)
        if any(
            explained(occurrence.file, directory, changed) != before for changed in variants(occurrence, data)
        ):
            return True
    return False


def test_the_mappings_have_every_key() -> None:
    assert sorted(set(KEYS) - set(OCCURRENCES)) == []


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_shown_unless_it_is_listed(key: str, directory: Path) -> None:
    assert is_shown(key, directory) != (key in NOT_SHOWN)
