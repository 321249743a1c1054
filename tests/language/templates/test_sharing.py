"""Values are shared and never mutated: a result may contain parts of the YAML and of the payload.

Copying would cost time in every request without need, as no code mutates a value. These tests check it:
generated code fills only containers that it created in the same evaluation.
"""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import pytest

from engine.errors import EvaluationError

from .rendered import Exchange, Template, compiled, parsed
from .test_order import CONTENTS, PAYLOADS, WHOLE_CHOICES

#: Templates whose result has only new containers: none is static, none is part of the payload.
NEW_CONTAINERS = [
    '{ a: "${ b }" }',
    '["${ b }"]',
    '{ k: "v", a: { b: "${ c }", l: ["${ d }"] } }',
    '{ $each: "${ list }", x: "${ $index }" }',
    '{ $spread: { a: 1 }, b: "${ b }" }',
    '{ $spread: "${ o }", b: 1 }',
    '{ $concat: [[1], "${ list }"] }',
    '{ $concat: "${ lists }" }',
    '"${ list[*] }"',
    '"${ {x: b} }"',
    '"${ [b, c] }"',
    '"${ merge(o, `{\\"z\\": 1}`) }"',
]
PAYLOAD = {"b": 1, "c": 2, "d": 3, "list": [1, 2], "lists": [[1], [2]], "o": {"q": 1}}


def clear_containers(value: Any) -> None:
    """Empty every container in a value."""
    for item in list(value.values() if isinstance(value, dict) else value):
        if isinstance(item, dict | list):
            clear_containers(item)
    value.clear()


@pytest.mark.parametrize("text", NEW_CONTAINERS)
def test_each_evaluation_creates_new_containers(text: str) -> None:
    template = compiled(parsed(text))
    first = template.value(PAYLOAD)
    wanted, given = copy.deepcopy(first), copy.deepcopy(PAYLOAD)
    clear_containers(first)
    assert given == PAYLOAD, template.shown(text)
    assert template.value(PAYLOAD) == wanted, template.shown(text)


def test_a_static_template_gives_one_shared_value() -> None:
    template = compiled(parsed("{ a: [1, { b: null }] }"))
    assert template.function.function(None, Exchange()) is template.function.function(None, Exchange())


def test_a_literal_in_an_expression_is_one_shared_value() -> None:
    template = compiled(parsed('"${ default(a, `{}`) }"'))
    assert template.function.function({}, Exchange()) is template.function.function({}, Exchange())


@pytest.mark.parametrize("content", [*CONTENTS.values(), *WHOLE_CHOICES.values()])
def test_shared_values_are_never_mutated(content: dict[str, Any]) -> None:
    """The payload, the variables and the static parts are unchanged after an evaluation."""
    static = {"s": [1, {"t": [2]}], "u": {}}
    data = {"$let": {"shared": static}, "$each": ["${ @ }", "${ $vars.table }", static], **content}
    template = compiled(parsed(json.dumps(data)), {"table": {"a": {"b": 1}, "list": [1]}}, named())
    assert not len(template.findings), list(template.findings)
    for payload in PAYLOADS:
        constants = copy.deepcopy(constants_of(template))
        given = copy.deepcopy(payload)
        with contextlib.suppress(EvaluationError):
            template.value(payload)
        assert (payload, constants_of(template)) == (given, constants), template.shown("changed")


def named() -> dict[str, Any]:
    return {"named": parsed('{ x: "${ a }", s: [1] }')}


def constants_of(template: Template) -> dict[str, Any]:
    """The containers that the generated code shares between evaluations."""
    names = template.function.function.__globals__
    return {n: value for n, value in names.items() if isinstance(value, dict | list) and n[:2] != "__"}
