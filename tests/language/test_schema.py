"""The schemas are valid and documented; only invalid parts of a document are removed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import relevance

from docs.generate import examples_of
from engine import schema_text
from engine.diagnostics import Findings
from engine.language import schema
from engine.language.schema.body_validator import MAX_LOCATED, BodyValidator
from engine.language.schema.quick_check import Undecided, is_valid
from engine.language.schema.subschemas import subschemas, without_branch_errors
from engine.language.yaml import parse
from engine.locations import Document
from engine.resources import shipped_mappings
from tests.support.properties import property_settings
from tests.support.times import time_limit

ROOT = Path(__file__).parent.parent.parent
SCHEMAS = {name: json.loads(schema_text(name)) for name in ("mapping", "suite")}


def properties() -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Each property of each schema: `(schema name, its location, the property, the complete schema)`."""
    for name, whole in SCHEMAS.items():
        for location, part in [("#", whole), *whole["definitions"].items()]:
            for key, found in part.get("properties", {}).items():
                yield name, f"{location}.{key}", found, whole


PROPERTIES = list(properties())
NAMES = [f"{name}:{location}" for name, location, *_ in PROPERTIES]


def resolved(part: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """A part of a schema, with a `$ref` replaced by its definition."""
    reference = part.get("$ref", "")
    if not reference:
        return part
    definition = whole["definitions"][reference.removeprefix("#/definitions/")]
    assert isinstance(definition, dict)
    return definition


# --- The schema files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_uses_draft_7_for_editors(name: str) -> None:
    assert SCHEMAS[name]["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_references_are_local_and_every_definition_is_used(name: str) -> None:
    references = {value for key, value in _pairs(SCHEMAS[name]) if key == "$ref"}
    assert references == {f"#/definitions/{definition}" for definition in SCHEMAS[name]["definitions"]}


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield from ((key, child) for key, child in value.items() if not isinstance(child, dict | list))
    for child in children:
        yield from _pairs(child)


@pytest.mark.parametrize(("name", "location", "part", "whole"), PROPERTIES, ids=NAMES)
def test_a_property_is_described(
    name: str, location: str, part: dict[str, Any], whole: dict[str, Any]
) -> None:
    description = resolved(part, whole).get("description", "")
    assert description.endswith("."), "a property is described in sentences"
    assert description[0].isupper() or description[0] in "'$", description


@pytest.mark.parametrize(("name", "location", "part", "whole"), PROPERTIES, ids=NAMES)
def test_a_property_has_valid_examples(
    name: str, location: str, part: dict[str, Any], whole: dict[str, Any]
) -> None:
    examples = examples_of(resolved(part, whole))
    assert examples, "a property has examples"
    validator = Draft7Validator({**part, "definitions": whole["definitions"]})
    for example in examples:
        assert [error.message for error in validator.iter_errors(example)] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_objects_with_known_keys_allow_no_others(name: str) -> None:
    parts = [SCHEMAS[name], *SCHEMAS[name]["definitions"].values()]
    closed = [part for part in parts if "properties" in part and "x-any-value" not in part]
    assert all(part.get("additionalProperties") is False for part in closed)


def test_a_pattern_has_a_description() -> None:
    """`x-expects` describes what a regular expression matches."""
    for whole in SCHEMAS.values():
        for part in _dicts(whole):
            if isinstance(part.get("pattern"), str) and "not" not in part:
                described = "x-expects" in part or part in _inner_of_not(whole)
                assert described, part


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _dicts(child)


def _inner_of_not(value: Any) -> list[Any]:
    return [part["not"] for part in _dicts(value) if isinstance(part.get("not"), dict)]


# --- Checking documents ----------------------------------------------------------------------------------


def read(text: str) -> Document:
    document = parse("x.yaml", text.encode(), Findings())
    assert document is not None
    return document


def check(text: str) -> tuple[Document | None, list[str]]:
    """The valid parts of a document, and the findings."""
    findings = Findings()
    left = schema.check(read(text), "mapping", findings)
    return left, [f"{d.span.line}:{d.span.column} {d.code}: {d.message}" for d in findings]


def test_a_valid_document_is_unchanged() -> None:
    for file in shipped_mappings().values():
        text = file.read_text("utf-8")
        left, messages = check(text)
        assert messages == []
        assert left is not None
        assert left.data == read(text).data


def test_an_unknown_version_of_the_language_is_a_finding() -> None:
    left, messages = check("dragoman: 2\nroutes: {}\n")
    assert messages == ["1:11 bad-value: expected 1, the version of the mapping language"]
    assert left is not None


WRONG = """
dragoman: 1
nam: x
env: { A: 5, B: { default: b, defalt: c } }
upstreams:
  one: { url: http://localhost, timeout: { read: soon, connect: 1s } }
  two: { timeout: {} }
routes:
  GET /a: { respond: { status: 99, body: fine } }
  GET /b: { respond: [{ status: 200, hedders: {} }, { status: 201 }] }
  GET /c: { summary: none }
  get /d: { respond: {} }
"""


def test_only_invalid_parts_are_removed() -> None:
    left, messages = check(WRONG)
    assert left is not None
    assert left.data == {
        "dragoman": 1,
        "env": {"B": {"default": "b"}},
        "upstreams": {"one": {"url": "http://localhost", "timeout": {"connect": "1s"}}},
        "routes": {
            "GET /a": {"respond": {"body": "fine"}},
            "GET /b": {"respond": [{"status": 200}, {"status": 201}]},
            "GET /c": {"summary": "none"},
        },
    }
    assert left.original == read(WRONG).data, "the original document is available too"
    assert [line.partition(": ")[0] for line in messages] == [
        "3:1 unknown-key",
        "4:11 wrong-type",
        "4:31 unknown-key",
        "6:50 bad-value",
        "7:3 missing-key",
        "9:32 bad-value",
        "10:38 unknown-key",
        "12:3 bad-key",
    ]


def test_checking_does_not_change_the_document() -> None:
    document = read(WRONG)
    schema.check(document, "mapping", Findings())
    assert document.data == read(WRONG).data


MESSAGES = {
    "dragoman: 1\nname: 5\n": "expected a name of letters, digits, '-', '_' and '.', at most 64 characters, "
    "got a number",
    "dragoman: 1\ndescription: [a]\n": "expected a string, got a list",
    "dragoman: 1\nenv: { A: { default: [] } }\n": "expected a string, a number or a boolean, got a list",
    "dragoman: 1\nenv: { A: { secret: yes } }\n": "expected a boolean, got a string",
    "dragoman: 1\nenv: { A: text }\n": "expected a mapping or null, got a string",
    "dragoman: 1\nroutes: []\n": "expected a mapping, got a list",
    "dragoman: 1\ninclude: ['']\n": "expected some text",
    "dragoman: 1\nauth: yes\n": "expected 'none', or a mapping with 'bearer'",
    "dragoman: 1\nauth: {}\n": "missing key 'bearer'",
    "dragoman: 1\nroutes: { GET: { respond: {} } }\n": "invalid key 'GET': expected 'METHOD /path', such as "
    "'GET /v1/models/{model}'",
    "dragoman: 1\nroutes: { GET /a: { respond: [] } }\n": "expected at least one case",
    "dragoman: 1\nroutes: { GET /a: { respond: text } }\n": "expected a mapping or a list, got a string",
    "dragoman: 1\nroutes: { GET /a: { respond: {}, dropped: refuse } }\n": "expected 'report' or 'reject'",
    "dragoman: 1\nroutes: { POST /a: { respond: {}, request: { max_bytes: 1.5 } } }\n": (
        "expected a whole number of bytes, or one ${ … }, got a number"
    ),
    "dragoman: 1\nupstreams: { a: { url: u, auth: { bearer: k, query: { name: n, value: v } } } }\n": (
        f"expected {SCHEMAS['mapping']['definitions']['upstream_auth']['x-expects']}"
    ),
}


@pytest.mark.parametrize("text", MESSAGES)
def test_a_message_describes_the_expected_value(text: str) -> None:
    _, messages = check(text)
    assert [line.partition(": ")[2] for line in messages] == [MESSAGES[text]]


# --- The quick check -------------------------------------------------------------------------------------

#: Values that some keywords accept and others do not.
ODD: list[Any] = [
    None, True, False, -1, 0, 1, 2, 1.0, 1.5, 99, 600, 10**12, "", "none", "x", "GET /a", "get /a", "5s",
    "Host", [], [1], ["a", "b"], [{}], {}, {"body": 1, "form": {}}, {"body": {}}, {"x y": 1}, {"bearer": "k"},
    {"url": 5},
]  # fmt: skip


def variants(value: Any) -> Iterator[Any]:
    """A value unchanged, and with each of its parts removed or replaced."""
    yield value
    for key in value if isinstance(value, dict) else ():
        yield {k: v for k, v in value.items() if k != key}
        yield from ({**value, key: odd} for odd in ODD)
        yield from ({**value, key: inner} for inner in variants(value[key]))
    for number in range(len(value)) if isinstance(value, list) else ():
        yield from ([*value[:number], inner, *value[number + 1 :]] for inner in variants(value[number]))


def quick_check_cases() -> Iterator[tuple[str, Any]]:
    """Each property of each schema by its name, with values to check."""
    for name, location, part, whole in PROPERTIES:
        inner = {key: value for key, value in part.items() if key != "examples"}
        yield (
            f"{name}:{location}",
            (inner, whole, [*ODD, *(examples_of(part) or examples_of(resolved(part, whole)))]),
        )


@pytest.mark.parametrize(("part", "whole", "values"), [case for _, case in quick_check_cases()], ids=NAMES)
def test_the_quick_check_agrees_with_the_library(part: Any, whole: Any, values: list[Any]) -> None:
    validator = Draft7Validator({"allOf": [part], "definitions": whole["definitions"]})
    decided = 0
    for value in (variant for each in values for variant in variants(each)):
        try:
            found = is_valid(value, part, whole)
        except Undecided:
            continue
        decided += 1
        assert found == validator.is_valid(value), value
    assert decided > len(ODD) / 2, "most values must be decided"


@pytest.mark.parametrize("keyword", ["oneOf", "patternProperties", "dependencies", "format"])
def test_the_quick_check_does_not_decide_unknown_keywords(keyword: str) -> None:
    with pytest.raises(Undecided):
        is_valid({}, {keyword: {}}, {})


def test_valid_mappings_load_without_the_library() -> None:
    code = (
        "import sys; from engine import Findings, load, shipped_mappings\n"
        "assert len(load(shipped_mappings().values(), Findings())) > 3\n"
        "sys.exit('jsonschema' in sys.modules or 'jsonschema_rs' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# --- Schemas of bodies -----------------------------------------------------------------------------------

INVALID_SCHEMAS: dict[str, tuple[Any, tuple[str | int, ...]]] = {
    "an unknown type": ({"properties": {"a": {"type": "text"}}}, ("properties", "a", "type")),
    "a required that is no list": ({"required": "name"}, ("required",)),
    "an invalid pattern": ({"anyOf": [True, {"pattern": "("}]}, ("anyOf", 1, "pattern")),
    "a schema at a URL": ({"items": {"$ref": "https://example.com/a.json"}}, ("items", "$ref")),
    "a schema in another file": ({"allOf": [{"$ref": "other.json"}]}, ("allOf", 0, "$ref")),
    "a missing definition": ({"$ref": "#/$defs/a"}, ("$ref",)),
    "an unused invalid reference": ({"$defs": {"a": {"$ref": "b.json"}}}, ("$defs", "a", "$ref")),
    "a file": ({"not": {"$ref": "file:///etc/hostname"}}, ("not", "$ref")),
    "a missing anchor": ({"items": {"$dynamicRef": "#a"}}, ("items", "$dynamicRef")),
    "look-ahead": ({"properties": {"a": {"pattern": "^(?=a)"}}}, ("properties", "a", "pattern")),
    "look-behind": ({"pattern": "(?<!a)b"}, ("pattern",)),
    "a backreference": ({"items": {"pattern": "(a)\\1"}}, ("items", "pattern")),
    "look-ahead in a name": ({"patternProperties": {"a(?!b)": {}}}, ("patternProperties", "a(?!b)")),
    "a pattern that is too large": ({"pattern": "(a{1000}){1000}"}, ("pattern",)),
    "another draft": ({"$schema": "http://json-schema.org/draft-07/schema#"}, ("$schema",)),
    "another draft inside": (
        {"items": {"$id": "http://a/b", "$schema": "http://json-schema.org/draft-04/schema#"}},
        ("items", "$schema"),
    ),
    "a lone surrogate": ({"const": "\ud800"}, ()),
    "a number": (5, ()),
    "a negative length": ({"$defs": {"a": {"maxLength": -1}}}, ("$defs", "a", "maxLength")),
}


def nested(levels: int, keyword: str) -> Any:
    part: Any = {}
    for _ in range(levels):
        part = {keyword: part}
    return part


def test_a_schema_nested_too_deeply_is_refused() -> None:
    with pytest.raises(schema.BodySchemaError, match="nested too deeply"):
        schema.body_schema(nested(300, "items"))


def test_a_refused_schema_has_a_message() -> None:
    for wrong, message in (
        ({"pattern": "(?=a)"}, "'(?=a)' is not a regular expression for linear time"),
        ({"$ref": "a.json"}, "a $ref must refer to its own schema; nothing is fetched"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "schemas of bodies must use 2020-12"),
    ):
        with pytest.raises(schema.BodySchemaError) as caught:
            schema.body_schema(wrong)
        assert message in str(caught.value)


def test_data_in_a_schema_is_not_checked_as_a_schema() -> None:
    data = {"$ref": "a.json", "$schema": "x", "pattern": "("}
    for sound in (
        {"const": data},
        {"enum": [data]},
        {"default": data, "examples": [data]},
        {"properties": {"$ref": {"type": "string"}, "$schema": {}, "pattern": {}}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema"},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
        {"format": "no-format", "x-own": {"$ref": "a.json"}},
    ):
        assert schema.body_schema(sound).check({}) is None or "const" in sound or "enum" in sound


@pytest.mark.parametrize(("wrong", "path"), INVALID_SCHEMAS.values(), ids=INVALID_SCHEMAS)
def test_an_invalid_schema_is_refused_with_the_path_of_the_mistake(
    wrong: Any, path: tuple[str | int, ...]
) -> None:
    with pytest.raises(schema.BodySchemaError) as caught:
        schema.body_schema(wrong)
    assert caught.value.path == path


def test_a_schema_may_refer_to_itself() -> None:
    tree = {"type": "object", "additionalProperties": {"$ref": "#"}}
    checked = schema.body_schema(tree)
    assert checked.check({"a": {"b": {}}}) is None
    assert checked.check({"a": {"b": 5}}) == {
        "path": "a.b",
        "rule": "type",
        "message": "must be object, not number",
    }


def chain(levels: int, leaf: Any) -> Any:
    value = leaf
    for _ in range(levels):
        value = {"a": value}
    return value


UNLOCATED: dict[str, Any] = {"path": "", "rule": "schema", "message": "does not match the schema"}
USER = {"properties": {"role": {"const": "user"}, "text": {"type": "string"}}, "required": ["role", "text"]}
TOOL = {"properties": {"role": {"const": "tool"}, "id": {"type": "string"}}, "required": ["role", "id"]}
TREE = {"oneOf": [{"type": "string"}, {"items": {"$ref": "#"}, "type": "array"}]}

#: name → schema, body, and the path, rule and message of the validation error.
VALIDATION_ERRORS: dict[str, tuple[Any, Any, tuple[str, str, str] | None]] = {
    "valid": ({"type": "object"}, {}, None),
    "nothing is allowed": (False, {}, ("", "schema", "is not allowed")),
    "required": ({"required": ["a", "b"]}, {"a": 1}, ("", "required", "'b' is required")),
    "item": (
        {"properties": {"a": {"items": {"type": ["string", "null"]}}}},
        {"a": ["x", 5]},
        ("a[1]", "type", "must be string or null, not number"),
    ),
    "a whole number is an integer": ({"type": "integer"}, 1.0, None),
    "a large one too": ({"type": "integer"}, 10**400, None),
    "a fraction is none": ({"type": "integer"}, 1.5, ("", "type", "must be integer, not number")),
    "a boolean is no number": ({"type": "number"}, True, ("", "type", "must be number, not boolean")),
    "a number equals itself": ({"const": 1}, 1.0, None),
    "a boolean equals no number": ({"const": 1}, True, ("", "const", "must satisfy const: 1")),
    "a large number": ({"maximum": 2**70}, 2**70 + 1, ("", "maximum", f"must satisfy maximum: {2**70}")),
    "enum": ({"enum": ["a", "b"]}, "secret", ("", "enum", 'must be one of ["a", "b"]')),
    "a long enum is truncated": (
        {"enum": ["x" * 300]},
        "secret",
        ("", "enum", f'must be one of ["{"x" * 183}…'),
    ),
    "a long name is truncated": (
        {"additionalProperties": {"type": "string"}},
        {"k" * 300: {}},
        (f"{'k' * 200}…", "type", "must be string, not object"),
    ),
    "an odd name": (
        {"properties": {"a b%/~é": {"type": "string"}}},
        {"a b%/~é": []},
        ("a b%/~é", "type", "must be string, not array"),
    ),
    "additional": (
        {"additionalProperties": False},
        {"secret": 1},
        ("", "additionalProperties", "has a field that is not allowed"),
    ),
    "additional to known ones": (
        {"additionalProperties": False, "properties": {"a": {}}},
        {"a": 1, "secret": 1},
        ("", "additionalProperties", "has a field that is not allowed"),
    ),
    "a property that is forbidden": (
        {"properties": {"a": False}},
        {"a": "secret"},
        ("a", "properties", "is not allowed"),
    ),
    "an item too many": (
        {"prefixItems": [True], "items": False},
        [1, "secret"],
        ("[1]", "items", "is not allowed"),
    ),
    "unevaluated field": (
        {"anyOf": [{"properties": {"a": {}}}, {"type": "null"}], "unevaluatedProperties": False},
        {"a": 1, "secret": 2},
        ("", "unevaluatedProperties", "has a field that is not allowed"),
    ),
    "evaluated by a branch": (
        {"anyOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}], "unevaluatedProperties": False},
        {"a": 1, "b": 2},
        None,
    ),
    "unevaluated item": (
        {"unevaluatedItems": False},
        ["secret"],
        ("", "unevaluatedItems", "has an item that is not allowed"),
    ),
    "pattern": ({"pattern": "^a"}, "secret", ("", "pattern", 'must satisfy pattern: "^a"')),
    "a pattern is searched for": ({"pattern": "é$"}, "café", None),
    "length is that of characters": ({"maxLength": 2}, "🦙é", None),
    "a name": (
        {"propertyNames": {"maxLength": 2}},
        {"secret": 1},
        ("", "propertyNames", 'must satisfy propertyNames: {"maxLength": 2}'),
    ),
    "dependent": (
        {"dependentRequired": {"a": ["b"]}},
        {"a": 1},
        ("", "dependentRequired", 'must satisfy dependentRequired: {"a": ["b"]}'),
    ),
    "dependent schema": (
        {"dependentSchemas": {"a": {"required": ["b"]}}},
        {"a": 1},
        ("", "required", "'b' is required"),
    ),
    "then": (
        {"if": {"type": "string"}, "then": {"minLength": 9}},
        "secret",
        ("", "minLength", "must satisfy minLength: 9"),
    ),
    "else": ({"if": {"type": "string"}, "else": False}, 5, ("", "else", "is not allowed")),
    "contains": (
        {"contains": {"type": "string"}},
        [1],
        ("", "contains", 'must satisfy contains: {"type": "string"}'),
    ),
    "contains too few": (
        {"contains": True, "minContains": 2},
        [1],
        ("", "minContains", "must satisfy minContains: 2"),
    ),
    "not": ({"not": {"type": "string"}}, "secret", ("", "not", 'must satisfy not: {"type": "string"}')),
    "unique": (
        {"uniqueItems": True},
        [{"a": 1}, {"a": 1.0}],
        ("", "uniqueItems", "must satisfy uniqueItems: true"),
    ),
    "unique though alike": ({"uniqueItems": True}, [1, True, "1", [1], {"1": 1}, 0, False, None, ""], None),
    "format is an annotation": ({"format": "email"}, "secret", None),
    "the branch with the deepest error": (
        {"items": {"anyOf": [{"type": "string"}, {"items": {"required": ["text"]}, "type": "array"}]}},
        ["x", [{"text": 1}, {}]],
        ("[1][1]", "required", "'text' is required"),
    ),
    "branches distinguished by a constant": (
        {"items": {"oneOf": [USER, TOOL]}},
        [{"role": "tool", "id": 5}],
        ("[0].id", "type", "must be string, not number"),
    ),
    "branches of one rank": (
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        5,
        ("", "anyOf", 'must satisfy anyOf: [{"type": "string"}, {"type": "null"}]'),
    ),
    "more branches than one": (
        {"oneOf": [{"type": "integer"}, {"minimum": 1}]},
        5,
        ("", "oneOf", 'must satisfy oneOf: [{"type": "integer"}, {"minimum": 1}]'),
    ),
    "a choice in a choice": (
        TREE,
        ["a", ["b", ["c", 5]]],
        ("[1][1][1]", "oneOf", f"must satisfy oneOf: {json.dumps(TREE['oneOf'])}"),
    ),
    "a pointer into a choice": (
        {
            "properties": {"a": {"$ref": "#/$defs/b/anyOf/1"}, "c": {"$ref": "#/$defs/b/oneOf/0"}},
            "$defs": {
                "b": {"allOf": [True], "anyOf": [True, {"type": "null"}], "oneOf": [{"type": "array"}]}
            },
        },
        {"a": None, "c": "secret"},
        ("c", "type", "must be array, not string"),
    ),
    "an id": (
        {
            "$id": "https://example.com/a.json",
            "items": {"$ref": "a.json#/$defs/b"},
            "$defs": {"b": {"type": "null"}},
        },
        ["secret"],
        ("[0]", "type", "must be null, not string"),
    ),
    "an id inside": (
        {
            "items": {
                "$id": "https://example.com/a.json",
                "anyOf": [{"$ref": "#/$defs/b"}],
                "$defs": {"b": {"pattern": "^a"}},
            }
        },
        ["secret"],
        ("[0]", "pattern", 'must satisfy pattern: "^a"'),
    ),
    "a dynamic reference": (
        {"$dynamicAnchor": "n", "type": ["array", "null"], "items": {"$dynamicRef": "#n"}},
        [None, ["secret"]],
        ("[1][0]", "type", "must be array or null, not string"),
    ),
    "a pointer by an id into a choice": (
        {
            "$id": "https://a.b/c",
            "items": {"$ref": "https://a.b/c#/$defs/b/anyOf/0"},
            "$defs": {"b": {"anyOf": [{"type": "null"}]}},
        },
        ["secret"],
        ("", "schema", "does not match the schema"),
    ),
    "a lone surrogate is a character": ({"type": "string", "maxLength": 1}, "\ud800", None),
    "two different lone surrogates": (
        {"items": {"minLength": 1}, "uniqueItems": True},
        ["\ud800", "\udfff"],
        None,
    ),
    "two equal lone surrogates": (
        {"items": {"minLength": 1}, "uniqueItems": True},
        ["\ud800", "\ud800"],
        ("", "uniqueItems", "must satisfy uniqueItems: true"),
    ),
    "a lone surrogate in an invalid body": (
        {"items": {"maxLength": 2}},
        ["\ud800", "\ud800abc"],
        ("[1]", "maxLength", "must satisfy maxLength: 2"),
    ),
    "text that looks like a lone surrogate": (
        {"items": {"enum": ["\\ud800", "🦙"]}},
        ["\\ud800", "🦙"],
        None,
    ),
    "a lone surrogate in a deep body": ({"items": {"minLength": 1}}, ["\ud800", chain(1000, "\ud800")], None),
    "a large body": (
        {"items": {"type": "null"}, "type": "array"},
        [None] * MAX_LOCATED + [5],
        ("", "schema", "does not match the schema"),
    ),
    "the largest body in which errors are located": (
        {"items": {"type": "null"}},
        [None] * (MAX_LOCATED - 2) + [5],
        (f"[{MAX_LOCATED - 2}]", "type", "must be null, not number"),
    ),
}


@pytest.mark.parametrize(("wanted", "body", "expected"), VALIDATION_ERRORS.values(), ids=VALIDATION_ERRORS)
def test_a_validation_error_does_not_contain_the_value(
    wanted: Any, body: Any, expected: tuple[str, str, str] | None
) -> None:
    error = schema.body_schema(wanted).check(body)
    assert error == (expected and dict(zip(("path", "rule", "message"), expected, strict=True)))
    assert "secret" not in json.dumps(error)


# --- Compared with another validator ---------------------------------------------------------------------

NAMES_IN_BODIES = st.sampled_from(["a", "b", "ab", ""])
SCALARS = st.sampled_from([None, True, False, 0, 1, 1.0, 2, -1, 1.5, 10**20, "", "a", "ab", "é"])
SOME_BODIES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES_IN_BODIES, inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])
LIMITS = st.integers(0, 3)


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    by_name = st.dictionaries(NAMES_IN_BODIES, inner, max_size=2)
    several = st.lists(inner, min_size=1, max_size=3)
    values: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
        "enum": st.lists(SOME_BODIES, min_size=1, max_size=3),
        "const": SOME_BODIES,
        "required": st.lists(NAMES_IN_BODIES, max_size=2, unique=True),
        "dependentRequired": st.dictionaries(
            NAMES_IN_BODIES, st.lists(NAMES_IN_BODIES, max_size=1), max_size=1
        ),
        "pattern": st.sampled_from(["^a", "b", "^(a+)+x", "[^a]"]),
        "uniqueItems": st.booleans(),
        **dict.fromkeys(
            ("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"), LIMITS
        ),
        **dict.fromkeys(("minProperties", "maxProperties", "minimum", "maximum", "exclusiveMinimum"), LIMITS),
        "multipleOf": st.integers(1, 2),
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), several),
        **dict.fromkeys(("not", "if", "then", "else", "items", "contains", "propertyNames"), inner),
        **dict.fromkeys(("additionalProperties", "unevaluatedProperties", "unevaluatedItems"), inner),
        **dict.fromkeys(("properties", "dependentSchemas"), by_name),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
        "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y/anyOf/1"]),
    }
    return st.fixed_dictionaries({}, optional=values).map(_few)


def _few(part: dict[str, Any]) -> dict[str, Any]:
    """A schema with a few of its keywords, so that some bodies are valid."""
    return dict(list(part.items())[: 1 + len(json.dumps(part)) % 4])


SOME_SCHEMAS = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=5).map(
    lambda part: {
        **(part if isinstance(part, dict) else {"allOf": [part]}),
        "$defs": {"x": {"type": ["object", "string"]}, "y": {"anyOf": [{"type": "null"}, {"minLength": 1}]}},
    }
)


@property_settings(600, heavy=20_000)
@given(SOME_SCHEMAS, st.lists(SOME_BODIES, min_size=1, max_size=4))
def test_validity_agrees_with_another_validator(wanted: Any, bodies: list[Any]) -> None:
    other, checked = Draft202012Validator(wanted), BodyValidator(wanted)
    for body in bodies:
        error = checked.find_error(body)
        assert (error is None) == other.is_valid(body)
        if error is not None:
            assert error["rule"] != "schema" or error != UNLOCATED
            assert len(error["message"]) <= 201


@property_settings(300, heavy=10_000)
@given(SOME_SCHEMAS, st.lists(SOME_BODIES, min_size=1, max_size=4))
def test_a_rewritten_schema_is_equivalent(wanted: Any, bodies: list[Any]) -> None:
    rewritten = without_branch_errors(wanted)
    one, other = (jsonschema_rs.Draft202012Validator(each) for each in (wanted, rewritten))
    assert [one.is_valid(body) for body in bodies] == [other.is_valid(body) for body in bodies]
    assert not any(
        keyword in part
        for path, part in subschemas(rewritten)
        if path[-1:] != ("if",)
        for keyword in ("anyOf", "oneOf")
    )


PLAIN: list[Any] = [
    {},
    {"type": "object"},
    {"type": ["integer", "null"]},
    {"required": ["b", "a"], "type": "array"},
    {"type": "array", "required": ["a"], "items": {"type": ["number", "string"]}},
    {
        "type": "object",
        "required": ["a"],
        "properties": {
            "b": {"type": "string"},
            "a": {"type": "object", "properties": {"c": {"type": "boolean"}, "b": {"type": "array"}}},
            "c": {"items": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}},
        },
    },
]
BODIES: list[Any] = [*ODD, {"a": {"b": [1], "c": True}, "b": "x", "c": [{"a": 1}, {"a": 2.0}]}, [1, "x"]]


@pytest.mark.parametrize("wanted", PLAIN, ids=json.dumps)
def test_the_error_is_one_that_another_validator_finds(wanted: Any) -> None:
    other, checked = Draft202012Validator(wanted), BodyValidator(wanted)
    for body in (variant for each in BODIES for variant in variants(each)):
        error = checked.find_error(body)
        found = [(each.json_path, each.validator) for each in sorted(other.iter_errors(body), key=relevance)]
        if error is None:
            assert found == []
        else:
            path = "".join(step if step[:1] == "[" else f".{step}" for step in [error["path"]] if step)
            assert (f"${path}", error["rule"]) in found


# --- Time ------------------------------------------------------------------------------------------------


SELF = {"$ref": "#/$defs/n"}
INNER = {"properties": {"a": SELF}}
#: Schemas that refer to themselves twice per level: a naive traversal takes exponential time.
RECURSIVE: dict[str, Any] = {
    "oneOf": {"oneOf": [{"type": "object", **INNER}, {"required": ["b"], **INNER}]},
    "anyOf": {"anyOf": [{"type": "object", "required": ["b"], **INNER}, {"type": "object", **INNER}]},
    "allOf": {"allOf": [INNER, {"type": "object", **INNER}]},
    "if": {"if": INNER, "then": {"type": "object", **INNER}, "else": INNER},
    "not": {"not": {"allOf": [INNER, {"not": {"type": "object", **INNER}}]}},
    "unevaluated": {"anyOf": [INNER, INNER], "unevaluatedProperties": False, "type": "object"},
    "dependent": {"dependentSchemas": {"a": INNER}, "type": "object", **INNER},
    "names": {"patternProperties": {"^a": SELF, "a$": SELF}, "type": "object"},
}


@pytest.mark.parametrize("name", RECURSIVE)
def test_a_schema_that_refers_to_itself_takes_linear_time(name: str) -> None:
    checked = BodyValidator({"$defs": {"n": RECURSIVE[name]}, **SELF})
    with time_limit():
        for levels in (1, 50, 1000):
            assert checked.find_error(chain(levels, {})) is None or name in ("oneOf", "not")
            error = checked.find_error(chain(levels, 5))
            assert error is None or len(json.dumps(error)) < 1000


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "(a*)*b$", "^(.*a){20}$", "^(\\w+\\s?)*$"])
def test_patterns_do_not_backtrack(pattern: str) -> None:
    """With backtracking, each would take hours on 100 characters."""
    text = "a" * 100_000 + "!"
    with time_limit():
        for wanted, body in (
            ({"pattern": pattern}, text),
            ({"patternProperties": {pattern: False}, "maxProperties": 0}, {text: 1}),
            ({"propertyNames": {"pattern": pattern}}, {text: 1}),
            ({"additionalProperties": False, "patternProperties": {pattern: {}}}, {text: 1}),
        ):
            BodyValidator(wanted).find_error(body)


def test_large_bodies_take_linear_time() -> None:
    """Each would take minutes if items were compared pairwise, or if all errors were collected."""
    objects = [{"a": number, "b": [number]} for number in range(200_000)]
    cases: list[tuple[Any, Any, bool]] = [
        ({"uniqueItems": True}, objects, True),
        ({"uniqueItems": True}, [*objects, objects[-1]], False),
        ({"uniqueItems": True}, [[number, {"x": number / 7}] for number in range(200_000)], True),
        ({"items": {"type": "integer"}}, objects, False),
        ({"anyOf": [{"items": {"type": "integer"}}, {"items": {"type": "null"}}]}, objects, False),
        ({"contains": {"const": 5}}, objects, False),
        (
            {"items": {"oneOf": [{"required": ["a"]}, {"required": ["c"]}]}, "unevaluatedItems": False},
            objects,
            True,
        ),
        (
            {"unevaluatedProperties": False, "patternProperties": {"^[0-9]+$": {"type": "object"}}},
            {str(number): item for number, item in enumerate(objects)},
            True,
        ),
        ({"enum": [[number] for number in range(2000)]}, objects, False),
    ]
    with time_limit():
        for wanted, body, is_valid_body in cases:
            error = BodyValidator(wanted).find_error(body)
            assert (error is None) == is_valid_body
            assert error in (None, UNLOCATED)
