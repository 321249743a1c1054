"""Values are shared and never changed: what a template gives may hold parts of the YAML and of the payload.

Copying them would cost every request what nothing needs, as no code changes a value. So these tests hold the
engine to that: generated code fills only containers that it made in the same evaluation.
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

#: Templates of which every container is their own: nothing in them is static, nothing is the payload's.
OWN = [
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


def emptied(value: Any) -> None:
    """Change every container in a value."""
    for item in list(value.values() if isinstance(value, dict) else value):
        if isinstance(item, dict | list):
            emptied(item)
    value.clear()


@pytest.mark.parametrize("text", OWN)
def test_what_a_template_makes_is_new_each_time(text: str) -> None:
    template = compiled(parsed(text))
    first = template.value(PAYLOAD)
    wanted, given = copy.deepcopy(first), copy.deepcopy(PAYLOAD)
    emptied(first)
    assert given == PAYLOAD, template.shown(text)
    assert template.value(PAYLOAD) == wanted, template.shown(text)


def test_a_static_template_is_one_value() -> None:
    template = compiled(parsed("{ a: [1, { b: null }] }"))
    assert template.function.function(None, Exchange()) is template.function.function(None, Exchange())


def test_a_literal_of_an_expression_is_one_value() -> None:
    template = compiled(parsed('"${ default(a, `{}`) }"'))
    assert template.function.function({}, Exchange()) is template.function.function({}, Exchange())


@pytest.mark.parametrize("content", [*CONTENTS.values(), *WHOLE_CHOICES.values()])
def test_nothing_that_is_shared_is_changed(content: dict[str, Any]) -> None:
    """The payload, the variables and the static parts are as before, whatever is made of them."""
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
