"""Directives of one mapping apply as if nested: `$each`, `$let`, `$with`, `$if` or `$switch`, then content.

Every legal combination is compiled flat and nested; both must give the same value for each payload.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from engine.errors import EvaluationError

from .rendered import NOTHING, Template, compiled, parsed

EACH = {"$each": "${ list }"}
LET = {"$let": {"v": "${ a }", "w": "${ $v.b || 'none' }"}}
WITH = {"$with": "${ $request.body.other || a }"}
CHOICES: dict[str, dict[str, Any]] = {
    "always": {},
    "if": {"$if": "${ flag }"},
    "if else": {"$if": "${ flag }", "$else": "${ a || 'otherwise' }"},
}
#: Choices that replace the content.
WHOLE_CHOICES: dict[str, dict[str, Any]] = {
    "then": {"$if": "${ flag }", "$then": {"x": "${ a }"}},
    "then else": {"$if": "${ flag }", "$then": "${ a }", "$else": ["${ b }"]},
    "switch": {"$switch": "${ b }", "$cases": {"1": {"x": "${ a }"}, "two": "${ flag }"}},
    "switch default": {"$switch": "${ b }", "$cases": {"1": "${ a }"}, "$default": {"d": "${ b }"}},
}
CONTENTS: dict[str, dict[str, Any]] = {
    "keys": {"x": "${ a }", "y": 1, "z": "t${ b }"},
    "spread": {"y": 1, "$spread": "${ a }", "x": "${ b }"},
    "only spread": {"$spread": ["${ a }", {"y": 1}]},
    "use": {"$use": "named"},
    "concat": {"$concat": ["${ list }", "${ b }"]},
    "value": {"$value": "${ a }"},
    "static value": {"$value": [1, {"k": None}]},
}
NAMED = {"named": {"x": "${ a }", "body": "${ $request.body.b }"}}

PAYLOADS: list[Any] = [
    None,
    {},
    {"a": {"b": 1, "c": None}, "b": 1, "flag": True, "list": [1, None, [2]]},
    {"a": {"b": []}, "flag": 0, "b": "two", "other": {"a": {"x": "o"}, "flag": False, "b": "1"}},
    {"list": [{"a": {"b": 1}, "flag": True, "b": 1}, {"a": None, "b": "two"}, {"flag": ""}, None, 5]},
    {"list": [], "a": {}, "flag": [None]},
    {"list": {"k": {"a": 1}}, "a": {"flag": "x", "list": [], "a": {"q": None}}},
    {"list": "text", "a": "text", "flag": True},
]


def combinations() -> list[Any]:
    contents = [
        (f"{choice}, {content}", CHOICES[choice], CONTENTS[content])
        for choice, content in itertools.product(CHOICES, CONTENTS)
    ] + [(name, choice, {}) for name, choice in WHOLE_CHOICES.items()]
    return [
        pytest.param([*outer, choice, content], id="+".join([*(next(iter(d)) for d in outer), name]))
        for outer in subsets([EACH, LET, WITH])
        for name, choice, content in contents
    ]


def subsets(layers: list[dict[str, Any]]) -> list[tuple[dict[str, Any], ...]]:
    return [s for size in range(len(layers) + 1) for s in itertools.combinations(layers, size)]


@pytest.mark.parametrize("layers", combinations())
def test_directives_apply_as_if_nested(layers: list[dict[str, Any]]) -> None:
    flat, nested = template(flattened(layers)), template(wrapped(layers))
    backwards = template(dict(reversed(flattened(layers[:-1]).items())) | layers[-1])
    assert not len(flat.findings), list(flat.findings)
    assert not len(nested.findings), list(nested.findings)
    for payload in PAYLOADS:
        wanted = outcome(nested, payload)
        assert outcome(flat, payload) == wanted, flat.shown(json.dumps(payload))
        assert outcome(backwards, payload) == wanted, backwards.shown(json.dumps(payload))


def flattened(layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for layer in layers for key, value in layer.items()}


def wrapped(layers: list[dict[str, Any]]) -> Any:
    """The layers as nested mappings, each the value of the one around it."""
    first, *rest = [layer for layer in layers if layer]
    if not rest:
        return first
    if "$if" in first:
        return {**first, "$then": wrapped(rest)}
    return {**first, "$value": wrapped(rest)}


def template(data: Any) -> Template:
    named = {name: parsed(json.dumps(value)) for name, value in NAMED.items()}
    return compiled(parsed(json.dumps(data)), templates=named)


def outcome(compiled_template: Template, payload: Any) -> str:
    try:
        value = compiled_template.value(payload)
    except EvaluationError as error:
        return f"fails: {error.message}"
    return NOTHING if value is NOTHING else json.dumps(value)
