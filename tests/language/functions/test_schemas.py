"""`schema_example`: the result matches the schema, and no schema makes it slow, large or fail otherwise."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EvaluationError
from engine.language.functions import FUNCTIONS
from tests.support.properties import property_settings
from tests.support.times import time_limit

from .generated import VALUES

example = FUNCTIONS["schema_example"].implementation

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 12}, "age": {"type": "integer", "minimum": 18}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "left": {"$ref": "#/$defs/node"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["value", "next"],
        }
    },
    "$ref": "#/$defs/node",
}

#: Schemas that the example must match.
SCHEMAS: dict[str, Any] = {
    "any": {},
    "true": True,
    "person": PERSON,
    "list": {"type": "array", "items": PERSON, "minItems": 3},
    "tree": TREE,
    "required-elsewhere": {"type": "object", "required": ["a"], "additionalProperties": {"type": "boolean"}},
    "min-properties": {"type": "object", "minProperties": 3, "additionalProperties": {"type": "number"}},
    "tuple": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "null"}], "items": False},
    "tuple-of-one": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "null"}], "maxItems": 1},
    "contains": {"type": "array", "contains": {"const": 4}, "minContains": 2},
    "unique-numbers": {
        "type": "array",
        "items": {"type": "integer", "minimum": 5},
        "minItems": 9,
        "uniqueItems": True,
    },
    "unique-texts": {
        "type": "array",
        "items": {"type": "string", "maxLength": 4},
        "minItems": 12,
        "uniqueItems": True,
    },
    "unique-values": {"type": "array", "items": {"enum": [1, "b", None]}, "minItems": 3, "uniqueItems": True},
    "unique-objects": {"type": "array", "items": PERSON, "minItems": 4, "uniqueItems": True},
    "enum": {"enum": ["red", "green"]},
    "const": {"const": {"a": [1, None]}},
    "nullable": {"type": ["null", "string"]},
    "null": {"type": "null"},
    "exclusive": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5},
    "negative": {"type": "integer", "maximum": -2.5},
    "multiple": {"type": "integer", "minimum": 8, "multipleOf": 7},
    "between": {"type": "integer", "exclusiveMinimum": 2.5, "maximum": 3.2},
    "huge": {"type": "integer", "minimum": 1e300},
    "long-text": {"type": "string", "minLength": 200, "maxLength": 200},
    "short-text": {"type": "string", "maxLength": 2},
    "no-text": {"type": "string", "maxLength": 0},
    "choice": {"oneOf": [{"type": "null"}, {"type": "object", "required": ["x"]}]},
    "choice-of-type": {"type": "integer", "anyOf": [{"type": "string"}, {"type": "number", "minimum": 3}]},
    "all": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"a": {"minLength": 9}, "b": {"const": 3}}, "required": ["b"]},
        ]
    },
    "all-of-references": {
        "$defs": {
            "named": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
        },
        "allOf": [{"$ref": "#/$defs/named"}, {"properties": {"name": {"maxLength": 3}}}],
    },
    "escaped-reference": {"$defs": {"a/b~c d": {"const": 7}}, "$ref": "#/$defs/a~1b~0c%20d"},
    "reference-with-siblings": {"$defs": {"t": {"type": "string"}}, "$ref": "#/$defs/t", "minLength": 30},
    "reference-into-a-list": {"anyOf": [{"type": "integer"}], "items": {"$ref": "#/anyOf/0"}},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_example_matches_the_schema(name: str) -> None:
    schema = SCHEMAS[name]
    value = example(schema)
    jsonschema.Draft202012Validator(schema).validate(value)
    assert json.dumps(example(schema)) == json.dumps(value)


@pytest.mark.parametrize(
    "format_name",
    [
        "date",
        "date-time",
        "time",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "uuid",
        "regex",
        "json-pointer",
        "uri",
    ],
)
def test_the_example_has_the_format(format_name: str) -> None:
    schema = {"type": "string", "format": format_name}
    value = example(schema)
    assert value != example({"type": "string"})
    jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(value)


def test_optional_parts_end_a_recursion() -> None:
    assert example(TREE) == {"value": 0, "children": [], "next": None}


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"anyOf": [False, {"$ref": "#"}]},
    ],
)
def test_a_schema_without_a_value_is_an_error(schema: Any) -> None:
    with pytest.raises(EvaluationError, match="that no value matches"):
        example(schema)


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "array", "minItems": 10**9}, "more than 100000"),
        (
            {"type": "array", "items": {"type": "string", "minLength": 50_000}, "minItems": 3},
            "more than 100000",
        ),
        ({"type": "string", "minLength": 10**9}, "more than 100000"),
        ({"type": "object", "minProperties": 10**9}, "more than 100000"),
        ({"type": "array", "items": {"const": "x" * 9999}, "minItems": 20}, "more than 100000"),
        ({"type": "array", "items": {"enum": ["x" * 9999]}, "minItems": 20}, "more than 100000"),
        ({"allOf": [{"properties": {f"p{n}": {}}} for n in range(20_000)]}, "more than 100000"),
        ({"anyOf": [{"properties": {"x": {"$ref": "#"}}, "required": ["x"]}] * 50_000}, "more than 100000"),
        (
            {
                "$defs": {
                    f"d{n}": {"prefixItems": [{"$ref": f"#/$defs/d{n + 1}"}] * 2, "minItems": 2}
                    for n in range(25)
                },
                "$ref": "#/$defs/d0",
            },
            "more than 100000",
        ),
        (nested(100), "nested too deeply"),
    ],
    ids=["items", "texts", "text", "names", "constants", "values", "parts", "choices", "doubling", "depth"],
)
def test_work_and_result_are_bounded(schema: Any, message: str) -> None:
    with time_limit(), pytest.raises(EvaluationError, match=message):
        example(schema)


KEYWORDS = [
    *("type", "enum", "const", "properties", "required", "additionalProperties", "minProperties", "items"),
    *("prefixItems", "contains", "minContains", "minItems", "maxItems", "uniqueItems", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "format", "allOf"),
    *("anyOf", "oneOf", "$ref", "$defs"),
]


@property_settings(200)
@given(st.dictionaries(st.sampled_from(KEYWORDS), VALUES))
def test_no_keyword_fails_otherwise(schema: dict[str, Any]) -> None:
    """Schemas come from clients: whatever a keyword has as its value, only an EvaluationError is raised."""
    with contextlib.suppress(EvaluationError):
        json.dumps(example(schema))


NUMBERS = st.integers(-50, 50) | st.floats(-50, 50).map(lambda number: round(number, 2))
PLAIN = st.recursive(
    st.one_of(
        st.just({"type": "boolean"}),
        st.builds(
            lambda n, m: {"type": "string", "minLength": n, "maxLength": n + m},
            st.integers(0, 30),
            st.integers(0, 9),
        ),
        st.builds(
            lambda n, m: {"type": "number", "minimum": n, "maximum": n + m}, NUMBERS, st.integers(0, 9)
        ),
        st.builds(
            lambda n, m: {"type": "integer", "minimum": n, "maximum": n + m},
            st.integers(-50, 50),
            st.integers(0, 9),
        ),
        st.builds(
            lambda values: {"enum": values}, st.lists(st.integers() | st.text(), min_size=1, max_size=3)
        ),
    ),
    lambda parts: st.one_of(
        st.builds(lambda part, n: {"type": "array", "items": part, "minItems": n}, parts, st.integers(0, 3)),
        st.builds(
            lambda properties: {"type": "object", "properties": properties, "required": [*properties]},
            st.dictionaries(st.text(max_size=5), parts, max_size=3),
        ),
        st.builds(lambda first, second: {"anyOf": [first, second]}, parts, parts),
    ),
    max_leaves=8,
)


@property_settings(200)
@given(PLAIN)
def test_examples_match_generated_schemas(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema).validate(example(schema))
