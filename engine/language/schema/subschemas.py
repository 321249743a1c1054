"""The schemas within a JSON Schema (2020-12), and an equivalent schema whose errors are cheap to find.

Contract: data (`const`, `enum`, `default`, `examples`) is not mistaken for a schema. Must not know how
schemas are evaluated, nor what they are for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import unquote

from engine.locations import Path

#: Keywords whose value is a schema, a list of schemas, or schemas by name.
_ONE: Final = frozenset(
    (
        *("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames"),
        *("then", "unevaluatedItems", "unevaluatedProperties"),
    )
)
_LISTED: Final = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_NAMED: Final = frozenset(("$defs", "definitions", "dependentSchemas", "patternProperties", "properties"))
_REFERENCES: Final = frozenset(("$ref", "$dynamicRef"))
#: Keywords whose errors consist of the errors of all their schemas.
CHOICES: Final = ("anyOf", "oneOf")


def subschemas(schema: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every schema within one, itself first, that is an object, with its path."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for keyword, value in schema.items():
        if keyword in _ONE:
            yield from subschemas(value, (*path, keyword))
        elif keyword in _LISTED and isinstance(value, list):
            for number, item in enumerate(value):
                yield from subschemas(item, (*path, keyword, number))
        elif keyword in _NAMED and isinstance(value, dict):
            for name, item in value.items():
                yield from subschemas(item, (*path, keyword, name))


def keyword_of(path: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The last keyword on a path into a schema, without names and positions, and the path to its value."""
    position, found = 0, ""
    while position < len(path):
        found = path[position]
        if found in _NAMED or found in _LISTED:
            position += 2
        elif found in _ONE or found in _REFERENCES:
            position += 1
        else:
            return found, path[: position + 1]
    return found, path


# --- Choices without the errors of their branches --------------------------------------------------------


def without_branch_errors(schema: Any) -> Any:
    """An equivalent schema, in which a failed `anyOf` or `oneOf` is one error at an `else`.

    Otherwise a validator collects the errors of all branches, recursively: exponentially many if a schema
    refers to itself. As an `if` the choice is evaluated in the same way, and it has the same effect on
    `unevaluatedProperties`.
    """
    return _rewritten(schema, schema)


def _rewritten(schema: Any, resource: Any) -> Any:
    """Rewrite a schema; pointers in `$ref` start at `resource`, the schema with an `$id` or the root."""
    if not isinstance(schema, dict):
        return schema
    resource = schema if "$id" in schema else resource
    found = {
        key: _value(key, value, lambda inner: _rewritten(inner, resource)) for key, value in schema.items()
    }
    if isinstance(reference := found.get("$ref"), str) and reference.startswith("#/"):
        found["$ref"] = _moved(reference, resource)
    choices = [{"if": {key: found.pop(key)}, "else": False} for key in CHOICES if key in found]
    if choices:
        found["allOf"] = [*found.get("allOf", ()), *choices]
    return found


def _value(keyword: str, value: Any, rewrite: Callable[[Any], Any]) -> Any:
    if keyword in _ONE:
        return rewrite(value)
    if keyword in _LISTED and isinstance(value, list):
        return [rewrite(item) for item in value]
    if keyword in _NAMED and isinstance(value, dict):
        return {name: rewrite(item) for name, item in value.items()}
    return value


def _moved(reference: str, resource: Any) -> str:
    """Convert a pointer into the schema to a pointer into the rewritten one."""
    moved, value = "#", resource
    for part in reference[2:].split("/"):
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in CHOICES and name in value:
            before = sum(key in value for key in CHOICES[: CHOICES.index(name)])
            moved += f"/allOf/{len(value.get('allOf', ())) + before}/if"
        moved += f"/{part}"
        if isinstance(value, list):
            value = value[int(name)] if name.isdecimal() and int(name) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return moved
