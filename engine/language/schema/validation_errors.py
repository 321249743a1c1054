"""Validation errors of a document as findings, and the document without its invalid parts.

Contract: all errors are reported at once, each with its location and a message for people (from `x-expects`
and `x-hint` in the schema). Imported only for invalid documents. Must not know what a mapping means.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any, Final, TypeAlias

import referencing
from jsonschema import Draft7Validator

from engine.diagnostics import Findings, suggestion
from engine.language.schema.file_schemas import schema_named
from engine.locations import Document, Node, Path
from engine.values import type_name

_MAX_ROUNDS: Final = 50
#: A `ValidationError` of the library, in which nothing is `Unset`, although its stubs allow that.
_Error: TypeAlias = Any


@cache
def _validator(name: str) -> Draft7Validator:
    return Draft7Validator(schema_named(name), registry=referencing.Registry())


def report(document: Document, name: str, findings: Findings) -> Document | None:
    """Report validation errors; return the document without the invalid parts, None if nothing is left."""
    validator = _validator(name)
    data = copy.deepcopy(document.data)
    for round_number in range(_MAX_ROUNDS):
        errors = list(validator.iter_errors(data))
        if round_number == 0:
            for error in errors:
                _report(error, document, findings)
        errors = [error for error in errors if error.absolute_path or error.validator != "required"]
        if not errors:
            return replace(document, data=data, original=document.data)
        for error in errors:
            if not _prune(data, error):
                return None
    return None


# --- From errors to findings -----------------------------------------------------------------------------


def _report(error: _Error, document: Document, findings: Findings) -> None:
    node = _node(document, tuple(error.absolute_path))
    report = _REPORTS.get(str(error.validator), _bad_value)
    report(error, node, findings)


def _node(document: Document, path: Path) -> Node:
    value = document.data
    for step in path:
        value = value[step]
    return Node(document, path, value)


def _unknown_key(error: _Error, node: Node, findings: Findings) -> None:
    known = error.schema.get("properties", {})
    for key in _extra_keys(error):
        hint = suggestion(key, known) or (f"expected one of: {', '.join(known)}" if known else None)
        findings.error("unknown-key", f"unknown key '{key}'", node[key].key_span, hint)


def _missing_key(error: _Error, node: Node, findings: Findings) -> None:
    known = error.schema.get("properties", {})
    misspelt = {suggestion(key, known) for key in node.value if key not in known}
    missing = [key for key in error.validator_value if key not in node.value]
    for key in missing:
        if f"'{key}'" in error.message and suggestion(key, [key]) not in misspelt:
            findings.error("missing-key", f"missing key '{key}'", node.key_span)


def _wrong_type(error: _Error, node: Node, findings: Findings) -> None:
    message = f"expected {_expected(error)}, got {_article(type_name(node.value))}"
    hint = _hint(error, node)
    if node.value in ("True", "False", "TRUE", "FALSE", "yes", "no", "on", "off"):
        hint = "only 'true' and 'false' are booleans"
    findings.error("wrong-type", message, node.span, hint)


def _bad_value(error: _Error, node: Node, findings: Findings) -> None:
    if error.validator == "maxProperties" and _known_keys(error) <= error.validator_value:
        return
    key = _property_name(error)
    if key is not None and isinstance(node.value, dict) and key in node.value:
        message = f"invalid key '{key}': expected {_expected(error)}"
        findings.error("bad-key", message, node[key].key_span, error.schema.get("x-hint"))
        return
    near = error.validator_value if error.validator == "enum" else ()
    hint = suggestion(str(node.value), [str(value) for value in near]) or _hint(error, node)
    findings.error("bad-value", f"expected {_expected(error)}", node.span, hint)


def _property_name(error: _Error) -> str | None:
    """The key that `propertyNames` rejected, or None for other errors."""
    path = list(error.absolute_schema_path)
    return error.instance if "propertyNames" in path and isinstance(error.instance, str) else None


def _hint(error: _Error, node: Node) -> str | None:
    """What to write instead of a value of this type (`x-hint` in the schema)."""
    hints = error.schema.get("x-hint")
    return hints.get(type_name(node.value)) if isinstance(hints, dict) else None


def _expected(error: _Error) -> str:
    own = error.schema.get("x-expects")
    if own:
        return str(own)
    if error.validator == "type":
        types = error.validator_value
        names = [types] if isinstance(types, str) else types
        *others, last = [_article(name) for name in names]
        return f"{', '.join(others)} or {last}" if others else last
    return {"minLength": "some text", "minItems": "at least one item"}.get(
        str(error.validator), f"a value that satisfies '{error.validator}'"
    )


_YAML_WORDS: Final = {"object": "mapping", "array": "list", "integer": "whole number"}


def _article(name: str) -> str:
    name = _YAML_WORDS.get(name, name)
    return name if name == "null" else f"a {name}"


_REPORTS: Final[dict[str, Callable[[_Error, Node, Findings], None]]] = {
    "additionalProperties": _unknown_key,
    "required": _missing_key,
    "type": _wrong_type,
}


# --- Removing invalid parts ------------------------------------------------------------------------------


def _prune(data: Any, error: _Error) -> bool:
    """Remove the subject of an error from `data`: a key, or the nearest key above it."""
    path = list(error.absolute_path)
    if error.validator == "additionalProperties":
        return _remove(data, [[*path, key] for key in _extra_keys(error)])
    key = _property_name(error)
    if key is not None:
        return _remove(data, [[*path, key]])
    while path and isinstance(path[-1], int):
        path.pop()
    return bool(path) and _remove(data, [path])


def _remove(data: Any, paths: list[list[Any]]) -> bool:
    for path in paths:
        parent = data
        for step in path[:-1]:
            if not _has(parent, step):
                return True
            parent = parent[step]
        if isinstance(parent, dict):
            parent.pop(path[-1], None)
    return True


def _has(parent: Any, step: Any) -> bool:
    if isinstance(parent, dict):
        return step in parent
    return isinstance(parent, list) and isinstance(step, int) and step < len(parent)


def _extra_keys(error: _Error) -> Iterator[str]:
    known = error.schema.get("properties", {})
    return (key for key in error.instance if key not in known)


def _known_keys(error: _Error) -> int:
    return len(error.instance) - len(list(_extra_keys(error)))
