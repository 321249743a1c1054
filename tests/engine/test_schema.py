"""The schemas are sound and documented, and a document that does not fit them keeps what does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from engine import schema, schema_text
from engine.errors import Findings
from engine.loader import parse
from engine.resources import shipped_mappings
from engine.schema.checked import Checked
from engine.schema.fitting import Unsure, fits
from engine.schema.simple import is_simple, misfit
from engine.source import Document

ROOT = Path(__file__).parent.parent.parent
SCHEMAS = {name: json.loads(schema_text(name)) for name in ("mapping", "suite")}


def properties() -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Each property of each schema: `(schema, where it is, itself, the whole schema)`."""
    for name, whole in SCHEMAS.items():
        for place, part in [("#", whole), *whole["definitions"].items()]:
            for key, found in part.get("properties", {}).items():
                yield name, f"{place}.{key}", found, whole


PROPERTIES = list(properties())
NAMES = [f"{name}:{place}" for name, place, *_ in PROPERTIES]


def resolved(part: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """A part of a schema, or the definition it stands for."""
    reference = part.get("$ref", "")
    if not reference:
        return part
    definition = whole["definitions"][reference.removeprefix("#/definitions/")]
    assert isinstance(definition, dict)
    return definition


# --- The schema files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_of_draft_7_which_editors_know(name: str) -> None:
    assert SCHEMAS[name]["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_references_stay_inside_and_each_definition_is_used(name: str) -> None:
    references = {value for key, value in _pairs(SCHEMAS[name]) if key == "$ref"}
    assert references == {f"#/definitions/{definition}" for definition in SCHEMAS[name]["definitions"]}


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield from ((key, child) for key, child in value.items() if not isinstance(child, dict | list))
    for child in children:
        yield from _pairs(child)


@pytest.mark.parametrize(("name", "place", "part", "whole"), PROPERTIES, ids=NAMES)
def test_a_property_is_described(name: str, place: str, part: dict[str, Any], whole: dict[str, Any]) -> None:
    description = resolved(part, whole).get("description", "")
    assert description.endswith("."), "a property is described in sentences"
    assert description[0].isupper() or description[0] in "'$", description


@pytest.mark.parametrize(("name", "place", "part", "whole"), PROPERTIES, ids=NAMES)
def test_a_property_has_examples_that_fit_it(
    name: str, place: str, part: dict[str, Any], whole: dict[str, Any]
) -> None:
    examples = resolved(part, whole).get("examples", [])
    assert examples, "a property has examples"
    validator = Draft7Validator({**part, "definitions": whole["definitions"]})
    for example in examples:
        assert [error.message for error in validator.iter_errors(example)] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_objects_with_known_keys_allow_no_others(name: str) -> None:
    parts = [SCHEMAS[name], *SCHEMAS[name]["definitions"].values()]
    assert all(part.get("additionalProperties") is False for part in parts if "properties" in part)


def test_a_pattern_has_words_for_people() -> None:
    """`x-expects` says what a regular expression wants."""
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
    """What is left of a document, and the findings."""
    findings = Findings()
    left = schema.check(read(text), "mapping", findings)
    return left, [f"{d.span.line}:{d.span.column} {d.code}: {d.message}" for d in findings]


def test_a_document_that_fits_is_left_as_it_is() -> None:
    for file in shipped_mappings().values():
        text = file.read_text("utf-8")
        left, told = check(text)
        assert told == []
        assert left is not None
        assert left.data == read(text).data


def test_the_other_version_of_the_language_is_named() -> None:
    left, told = check("dragoman: 2\nroutes: {}\n")
    assert told == ["1:11 bad-value: expected 1, the version of the mapping language"]
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


def test_what_does_not_fit_is_left_out_and_nothing_else() -> None:
    left, told = check(WRONG)
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
    assert left.original == read(WRONG).data, "the document as it was read is kept beside it"
    assert [line.partition(": ")[0] for line in told] == [
        "3:1 unknown-key",
        "4:11 wrong-type",
        "4:31 unknown-key",
        "6:50 bad-value",
        "7:3 missing-key",
        "9:32 bad-value",
        "10:38 unknown-key",
        "12:3 bad-key",
    ]


def test_checking_changes_nothing_in_the_document() -> None:
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
    "dragoman: 1\nauth: {}\n": "'bearer' is missing here",
    "dragoman: 1\nroutes: { GET: { respond: {} } }\n": "'GET' does not fit: expected 'METHOD /path', such as "
    "'GET /v1/models/{model}'",
    "dragoman: 1\nroutes: { GET /a: { respond: [] } }\n": "expected at least one case",
    "dragoman: 1\nroutes: { GET /a: { respond: text } }\n": "expected a mapping or a list, got a string",
    "dragoman: 1\nroutes: { GET /a: { respond: {}, dropped: refuse } }\n": "expected 'report' or 'reject'",
    "dragoman: 1\nroutes: { POST /a: { respond: {}, request: { max_bytes: 1.5 } } }\n": (
        "expected a whole number of bytes, got a number"
    ),
    "dragoman: 1\nupstreams: { a: { url: u, auth: { bearer: k, query: { name: n, value: v } } } }\n": (
        "expected one scheme: bearer, header, basic or query"
    ),
}


@pytest.mark.parametrize("text", MESSAGES)
def test_a_message_says_what_is_expected(text: str) -> None:
    _, told = check(text)
    assert [line.partition(": ")[2] for line in told] == [MESSAGES[text]]


# --- The quick look --------------------------------------------------------------------------------------

#: Values that some keyword or other takes, and others do not.
ODD: list[Any] = [
    None, True, False, -1, 0, 1, 2, 1.0, 1.5, 99, 600, 10**12, "", "none", "x", "GET /a", "get /a", "5s",
    "Host", [], [1], ["a", "b"], [{}], {}, {"body": 1, "form": {}}, {"body": {}}, {"x y": 1}, {"bearer": "k"},
    {"url": 5},
]  # fmt: skip


def variants(value: Any) -> Iterator[Any]:
    """A value as it is, and with each part of it taken out or made something else."""
    yield value
    for key in value if isinstance(value, dict) else ():
        yield {k: v for k, v in value.items() if k != key}
        yield from ({**value, key: odd} for odd in ODD)
        yield from ({**value, key: inner} for inner in variants(value[key]))
    for number in range(len(value)) if isinstance(value, list) else ():
        yield from ([*value[:number], inner, *value[number + 1 :]] for inner in variants(value[number]))


def asked() -> Iterator[tuple[str, Any]]:
    """Each part of each schema by its name, with what to try it with."""
    for name, place, part, whole in PROPERTIES:
        inner = {key: value for key, value in part.items() if key != "examples"}
        yield (
            f"{name}:{place}",
            (inner, whole, [*ODD, *part.get("examples", resolved(part, whole).get("examples", []))]),
        )


@pytest.mark.parametrize(("part", "whole", "values"), [case for _, case in asked()], ids=NAMES)
def test_the_quick_look_says_what_the_library_says(part: Any, whole: Any, values: list[Any]) -> None:
    validator = Draft7Validator({"allOf": [part], "definitions": whole["definitions"]})
    sure = 0
    for value in (variant for each in values for variant in variants(each)):
        try:
            found = fits(value, part, whole)
        except Unsure:
            continue
        sure += 1
        assert found == validator.is_valid(value), value
    assert sure > len(ODD) / 2, "it is to be sure of most"


@pytest.mark.parametrize("keyword", ["oneOf", "patternProperties", "dependencies", "format"])
def test_the_quick_look_is_not_sure_of_keywords_it_does_not_know(keyword: str) -> None:
    with pytest.raises(Unsure):
        fits({}, {keyword: {}}, {})


def test_what_fits_is_loaded_without_the_library() -> None:
    code = (
        "import sys; from engine import Findings, load, shipped_mappings\n"
        "assert len(load(shipped_mappings().values(), Findings())) > 3\n"
        "sys.exit('jsonschema' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# --- Schemas of bodies -----------------------------------------------------------------------------------

NO_SCHEMAS: dict[str, tuple[Any, tuple[str | int, ...]]] = {
    "a type that is none": ({"properties": {"a": {"type": "text"}}}, ("properties", "a", "type")),
    "a list of no keys": ({"required": "name"}, ("required",)),
    "a pattern that is none": ({"anyOf": [True, {"pattern": "("}]}, ("anyOf", 1, "pattern")),
    "a schema elsewhere": ({"items": {"$ref": "https://example.com/a.json"}}, ("items", "$ref")),
    "a schema beside": ({"allOf": [{"$ref": "other.json"}]}, ("allOf", 0, "$ref")),
    "a place that is not there": ({"$ref": "#/$defs/a"}, ("$ref",)),
}


@pytest.mark.parametrize(("wrong", "path"), NO_SCHEMAS.values(), ids=NO_SCHEMAS)
def test_what_is_no_schema_is_refused_with_its_place(wrong: Any, path: tuple[str | int, ...]) -> None:
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


MISFITS: dict[str, tuple[Any, Any, dict[str, Any] | None]] = {
    "fits": ({"type": "object"}, {}, None),
    "required": (
        {"required": ["a", "b"]},
        {"a": 1},
        {"path": "", "rule": "required", "message": "'b' is required"},
    ),
    "item": (
        {"properties": {"a": {"items": {"type": ["string", "null"]}}}},
        {"a": ["x", 5]},
        {"path": "a[1]", "rule": "type", "message": "must be string or null, not number"},
    ),
    "enum": (
        {"enum": ["a", "b"]},
        "secret",
        {"path": "", "rule": "enum", "message": 'must be one of ["a", "b"]'},
    ),
    "additional": (
        {"additionalProperties": False},
        {"secret": 1},
        {"path": "", "rule": "additionalProperties", "message": "has a field that is not allowed"},
    ),
    "pattern": (
        {"pattern": "^a"},
        "secret",
        {"path": "", "rule": "pattern", "message": 'must satisfy pattern: "^a"'},
    ),
}


@pytest.mark.parametrize(("wanted", "body", "expected"), MISFITS.values(), ids=MISFITS)
def test_a_misfit_is_told_without_the_value(wanted: Any, body: Any, expected: dict[str, Any] | None) -> None:
    told = schema.body_schema(wanted).check(body)
    assert told == expected
    assert "secret" not in json.dumps(told)


SIMPLE: list[Any] = [
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


@pytest.mark.parametrize("wanted", SIMPLE, ids=json.dumps)
def test_of_a_simple_schema_the_same_is_told_as_with_the_library(wanted: Any) -> None:
    assert is_simple(wanted)
    library = Checked(wanted)
    for body in (variant for each in BODIES for variant in variants(each)):
        assert misfit(wanted, body) == library.misfit(body), body


@pytest.mark.parametrize("wanted", [wanted for wanted, _ in NO_SCHEMAS.values()], ids=NO_SCHEMAS)
def test_what_is_no_schema_is_not_simple(wanted: Any) -> None:
    assert not is_simple(wanted)


def test_what_is_simple_is_a_schema() -> None:
    simple = [wanted for wanted in variants(SIMPLE[-1]) if is_simple(wanted)]
    assert len(simple) > 20
    for wanted in simple:
        Draft202012Validator.check_schema(wanted)
