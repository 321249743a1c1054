"""Objects that a template creates only to read their fields are not built.

The value is the same as if they were: each template is compared with one that reads no such object.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import EvaluationError
from engine.language.codegen import span_of_traceback

from .rendered import NOTHING, compiled, parsed

PAYLOADS: list[Any] = [
    {"a": 1, "b": {"c": "x"}, "list": [{"a": 2}, {"b": 3}]},
    {"a": None, "b": {"c": None}},
    {"a": False, "b": 0, "list": []},
    {"a": "", "b": []},
    {},
    [],
    None,
    7,
]

#: Templates whose inner object is not built, each with one that builds it.
UNUSED = [
    ('{ $with: { x: "${ a }", y: "${ b.c }" }, r: "${ x }", s: "${ y }" }', '{ r: "${ a }", s: "${ b.c }" }'),
    ('{ $with: { x: "${ a }" }, s: "${ x || \'d\' }" }', "{ s: \"${ a || 'd' }\" }"),
    ('{ $let: { o: { x: "${ a }" } }, r: "${ $o.x }" }', '{ r: "${ a }" }'),
    ('{ $with: { x: "${ b }" }, r: "${ x.c }" }', '{ r: "${ b.c }" }'),
    ('{ $spread: { x: "${ a }", y: "${ b }" }, z: "${ a }" }', '{ x: "${ a }", y: "${ b }", z: "${ a }" }'),
    ('{ $with: { x: "${ concat(to_string(a)) }" }, r: "${ x }" }', '{ r: "${ to_string(a) }" }'),
    ('{ $with: { x: "${ a }" }, r: "${ y }", s: "${ x }" }', '{ s: "${ a }" }'),
    ('{ $with: { x: 1, y: text }, r: "${ x }", s: "${ y }", t: "${ y.z }" }', "{ r: 1, s: text }"),
    ('{ $with: { x: { $if: "${ a }", $then: 1, $else: 2 } }, r: "${ x }" }', '{ r: "${ if(a, `1`, `2`) }" }'),
    ('{ $with: { x?: "${ a }", y: 1 }, r: "${ x }" }', '{ r?: "${ a }" }'),
    ('{ $with: { x?: { v: "${ a }" } }, r: "${ x.v }" }', '{ r: "${ a }" }'),
    ('{ $with: { x: { $if: "${ a }", $then: 1 } }, r: "${ x }" }', '{ r: "${ if(a, `1`) }" }'),
    ('{ $with: { x: { $with: "${ b }", $value: "${ c }" } }, r: "${ x }" }', '{ r: "${ b.c }" }'),
]
#: Templates whose inner object is built, each with an equal one.
USED = [
    ('{ $with: { x?: "${ b }" }, r: "${ @ }" }', '{ r: { x?: "${ b }" } }'),
    ('{ $with: { x?: { $if: "${ a }", v: "${ a }" } }, r: "${ x.v }" }', '{ r: "${ if(a, a) }" }'),
    ('{ $with: { x?: { v: "${ a }" } }, r: "${ x }" }', '{ r?: { v: "${ a }" } }'),
    (
        '{ $with: { x: 1, $spread: { x?: "${ a }" } }, r: "${ x }" }',
        '{ r: "${ if(a == `false`, a, a || `1`) }" }',
    ),
    ('{ $with: { x: "${ a }" }, r: "${ @ }" }', '{ r: { x: "${ a }" } }'),
    ('{ $with: { x: "${ a }" }, r: "${ keys(@) }" }', "{ r: \"${ if(a != `null`, ['x'], `[]`) }\" }"),
    ('{ $with: { x: "${ nullable(a) }" }, r: "${ @ }" }', '{ r: { x: "${ nullable(a) }" } }'),
    ('{ $with: { $spread: "${ b }", x: "${ a }" }, r: "${ x }" }', None),
    ('{ $with: { x: 1, $spread: { x: "${ a }" } }, r: "${ x }" }', '{ r: "${ default(a, `1`) }" }'),
    ('{ $with: { x: { $if: "${ a }", v: "${ a }" } }, r: "${ x.v }" }', '{ r: "${ if(a, a) }" }'),
    (
        '{ $with: { $if: "${ a }", $then: { x: "${ a }" }, $else: { x: 0 } }, r: "${ x }" }',
        '{ r: "${ if(a, a, `0`) }" }',
    ),
]


def value(text: str, payload: Any) -> Any:
    template = compiled(parsed(text))
    assert not list(template.findings), [finding.message for finding in template.findings]
    try:
        return template.value(payload)
    except Exception as error:
        return type(error).__name__


@pytest.mark.parametrize(("text", "equal"), [*UNUSED, *USED])
def test_the_value_is_that_of_the_built_object(text: str, equal: str | None) -> None:
    for payload in PAYLOADS:
        if equal is not None:
            assert value(text, payload) == value(equal, payload), payload
        elif isinstance(payload, dict) and isinstance(payload.get("b"), dict):
            expected = {} if payload["a"] is None else {"r": payload["a"]}
            assert value(text, payload) == expected


@pytest.mark.parametrize("text", [text for text, _ in UNUSED])
def test_an_unused_object_is_not_built(text: str) -> None:
    assert compiled(parsed(text)).function.source.count("= {") == 1, "only the result"


@pytest.mark.parametrize("text", [text for text, _ in USED])
def test_a_used_object_is_built(text: str) -> None:
    assert compiled(parsed(text)).function.source.count("= {") > 1


def test_nested_objects_are_built_if_one_of_them_is_used() -> None:
    unused = compiled(parsed('{ $with: { o: { i: { x: "${ a }" } } }, r: "${ a }", s: "${ o.i.x }" }'))
    assert unused.value({"a": 5, "o": 1}) == {"s": 5}
    used = compiled(parsed('{ $with: { o: { i: { x: "${ a }" } } }, r: "${ o.i }", s: "${ o.i.x }" }'))
    assert used.value({"a": 5}) == {"r": {"x": 5}, "s": 5}
    assert used.value({}) == {"r": {}}


def test_a_block_that_only_builds_an_unused_object_is_omitted() -> None:
    template = compiled(parsed('{ $with: { x: "${ a }", y: "${ b }" }, r: "${ x }" }'))
    assert "pass" not in template.function.source
    assert template.function.source.count("is not None") == 1


def test_fields_of_a_value_that_may_be_no_object() -> None:
    """From the third read on, the type is not tested again."""
    template = compiled(parsed('{ a: "${ a }", b: "${ b }", c: "${ c }", d: "${ d }", e: "${ e }" }'))
    assert template.function.source.count("type(p) is dict") == 3
    assert template.value({"a": 1, "d": 4, "e": None}) == {"a": 1, "d": 4}
    for payload in (None, [], "text", 1, True):
        assert template.value(payload) == {}


def test_an_error_has_the_location_of_its_line() -> None:
    """The locations of the lines after omitted ones remain right."""
    text = '$with: { x: "${ a }", y: "${ b }" }\nr: "${ x }"\ns: "${ abs(y) }"\n'
    template = compiled(parsed(text))
    assert template.value({"b": -2}) == {"s": 2}
    with pytest.raises(EvaluationError) as raised:
        template.value({"b": "text"})
    span = span_of_traceback(raised.value.__traceback__)
    assert span is not None
    assert span.line == 3
    assert template.value({"a": NOTHING, "b": 1}) == {"r": NOTHING, "s": 1}
