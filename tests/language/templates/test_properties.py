"""Properties of every template: literals are unchanged, and null appears only where it was written."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st

from engine.locations import Document, Node, SourceFile
from tests.support.properties import property_settings

from .rendered import NOTHING, compiled, shown

PROPERTY = property_settings(100, 250, is_seeded=True)

TEXTS = st.text(max_size=8) | st.sampled_from(
    ["$", "$a", "{}", "$ {", "}", "'", '"', "`", "\\", "\n", "%s", "é🙂"]
)
LITERAL_TEXTS = TEXTS.map(lambda text: text.replace("${", "$ {"))
KEYS = TEXTS.filter(lambda text: not text.startswith("$") and not text.endswith("?") and "${" not in text)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | LITERAL_TEXTS
)
LITERALS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)

NAMES = st.sampled_from(["a", "b", "c", "list"])
PAYLOADS = st.dictionaries(
    NAMES,
    st.recursive(
        st.integers(0, 3) | st.booleans() | st.sampled_from(["", "x"]) | st.just({}) | st.just([]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)
#: Expressions that give null, or a value without any null in it.
EXPRESSIONS = st.sampled_from(
    ["a", "b.c", "list[0]", "list[*].a", "a || b", "list[?a].b | [0]", "missing", "a && b", "!a", "c.a.b"]
).map("${{ {} }}".format)
STRINGS = EXPRESSIONS | EXPRESSIONS.map(lambda text: f"x {text}") | LITERAL_TEXTS


def _mappings(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.dictionaries(KEYS, inner, min_size=1, max_size=3)
    return st.one_of(
        keys,
        keys,
        keys.map(lambda content: {f"{key}?": value for key, value in content.items()}),
        st.builds(lambda each, content: {"$each": f"${{ to_array({each}) }}", **content}, NAMES, keys),
        st.builds(lambda test, content: {"$if": test, **content}, EXPRESSIONS, keys),
        st.builds(lambda test, a, b: {"$if": test, "$then": a, "$else": b}, EXPRESSIONS, inner, inner),
        st.builds(lambda payload, content: {"$with": payload, **content}, EXPRESSIONS, keys),
        st.builds(lambda bound, content: {"$let": {"v": bound}, **content, "v": "${ $v }"}, inner, keys),
        st.builds(lambda lists: {"$concat": lists}, st.lists(inner, max_size=3)),
        st.builds(lambda a, b: {"$switch": a, "$cases": {"x": b}, "$default": a}, EXPRESSIONS, inner),
    )


TEMPLATES = st.recursive(
    STRINGS | st.integers(0, 3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | _mappings(inner),
    max_leaves=10,
)


def node(value: Any) -> Node:
    """A node of a document without text: every location is its beginning."""
    return Document(SourceFile("template.yaml", ""), value).root


def has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(has_null, value.values()))
    return value is None or (isinstance(value, list) and any(map(has_null, value)))


@PROPERTY
@given(LITERALS, PAYLOADS)
def test_a_template_without_expressions_is_its_own_value(literal: Any, payload: Any) -> None:
    template = compiled(node(literal))
    note(template.function.source)
    assert not len(template.findings)
    assert shown(template.value(payload)) == shown(literal)


@PROPERTY
@given(LITERALS, PAYLOADS)
def test_literals_next_to_an_expression_are_unchanged(literal: Any, payload: Any) -> None:
    template = compiled(node({"literal": literal, "list": [literal, "${ nullable(a) }"]}))
    note(template.function.source)
    wanted = {"literal": literal, "list": [literal, payload.get("a")]}
    assert shown(template.value(payload)) == shown(wanted)


@PROPERTY
@given(TEMPLATES, PAYLOADS)
def test_expressions_never_add_null(data: Any, payload: Any) -> None:
    template = compiled(node(data))
    note(template.function.source)
    assert not len(template.findings), list(template.findings)
    assert not has_null(template.value(payload))


@PROPERTY
@given(st.dictionaries(KEYS, STRINGS, max_size=6), PAYLOADS)
def test_keys_have_the_order_of_the_yaml(data: dict[str, str], payload: Any) -> None:
    template = compiled(node(data))
    note(template.function.source)
    value = template.value(payload)
    assert value != NOTHING
    assert list(value) == [key for key in data if key in value]


@PROPERTY
@given(LITERALS)
def test_text_that_looks_like_code_remains_text(literal: Any) -> None:
    text = json.dumps(literal).replace("${", "$ {")
    template = compiled(node([text, f"{text}${{ a }}", "${ b }"]))
    note(template.function.source)
    assert template.value({"a": text, "b": text}) == [text, text + text, text]
