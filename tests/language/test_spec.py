"""The classes of a spec and the definitions of its schema have the same keys, types, values and defaults."""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from jsonschema import Draft7Validator

from engine import schema_text
from engine.codecs import FRAMINGS
from engine.errors import CALL_FAILURES
from engine.explain.routes import BUILTINS, RATE_KEYS
from engine.language import spec
from engine.language.spec_reader import Spec
from engine.locations import Node
from engine.testing import spec as suite_spec

SCHEMAS: dict[str, Any] = {name: json.loads(schema_text(name)) for name in ("mapping", "suite")}
CLASSES: dict[type[Spec], tuple[dict[str, Any], str]] = {
    **{cls: (SCHEMAS["mapping"], name) for cls, name in spec.DEFINITIONS.items()},
    **{cls: (SCHEMAS["suite"], name) for cls, name in suite_spec.DEFINITIONS.items()},
}
#: Definitions without a class: each is evaluated as a whole, or read by the code that owns its keys.
EVALUATED_AS_A_WHOLE = {"to", "upstream_auth", "named_value", "basic", "auth", "client_key", "from"}
#: An example of a key whose text is compared, and therefore remains a node.
IS_COMPARED = "POST"
#: The types of a key whose definition allows any value.
ANY_TYPE = ["string", "object"]
#: Keys that a root requires although a file without them is still checked.
REPORTED_IF_MISSING = {"dragoman", "cases"}


def definition(cls: type[Spec]) -> dict[str, Any]:
    schema, name = CLASSES[cls]
    found: dict[str, Any] = schema if name == "#" else schema["definitions"][name]
    return found


def key_of(field: Field[Any]) -> str:
    return field.name.rstrip("_")


def fields(cls: type[Spec]) -> Iterator[Field[Any]]:
    return (field for field in dataclasses.fields(cls) if field.name != "node")


def default_of(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


FIELDS = [(cls, field) for cls in CLASSES for field in fields(cls)]
NAMES = [f"{cls.__module__.split('.')[1]}-{cls.__name__}.{field.name}" for cls, field in FIELDS]
each_field = pytest.mark.parametrize(("cls", "field"), FIELDS, ids=NAMES)
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")


# --- Keys ------------------------------------------------------------------------------------------------


@each_class
def test_a_class_has_the_keys_of_its_definition(cls: type[Spec]) -> None:
    assert {key_of(field) for field in fields(cls)} == set(definition(cls)["properties"])


@each_class
def test_a_field_without_a_default_is_a_required_key(cls: type[Spec]) -> None:
    needed = {key_of(field) for field in fields(cls) if default_of(field) is MISSING}
    required = set(definition(cls).get("required", ()))
    assert needed == (required - REPORTED_IF_MISSING if CLASSES[cls][1] == "#" else required)


@pytest.mark.parametrize(("name", "module"), [("mapping", spec), ("suite", suite_spec)])
def test_every_object_of_a_schema_has_a_class(name: str, module: Any) -> None:
    definitions = SCHEMAS[name]["definitions"].items()
    objects = {key for key, found in definitions if "properties" in found and "x-any-value" not in found}
    assert objects - EVALUATED_AS_A_WHOLE == set(module.DEFINITIONS.values()) - {"#"}


# --- Types -----------------------------------------------------------------------------------------------


@each_field
def test_a_field_has_the_type_of_its_key(cls: type[Spec], field: Field[Any]) -> None:
    schema, _ = CLASSES[cls]
    hint = get_type_hints(cls)[field.name]
    wanted = hint if get_origin(hint) not in (Union, UnionType) else frozenset(get_args(hint)) - {NoneType}
    if isinstance(wanted, frozenset) and len(wanted) == 1:
        (wanted,) = wanted
    assert wanted in allowed(definition(cls)["properties"][key_of(field)], schema)


def allowed(part: dict[str, Any], schema: dict[str, Any]) -> list[Any]:
    """The types that the field of a key may have; a frozenset is a union."""
    name, part = resolved(part, schema)
    classes = {name: cls for cls, (own, name) in CLASSES.items() if own is schema}
    items = part.get("items") or part.get("then", {}).get("items") or {}
    item, each = resolved(items, schema)[0], resolved(part.get("additionalProperties") or {}, schema)
    values = part.get("enum", [part["const"]] if "const" in part else [])
    if name in classes:
        return [classes[name]]
    if item in classes:
        return [tuple[classes[item], ...]]
    if each[0] in classes:
        return [Mapping[str, classes[each[0]]]]
    if name == "duration":
        return [frozenset({Node, str})]
    if values and isinstance(values[0], str):
        return [Literal[tuple(values)], *([Node] if IS_COMPARED in part.get("examples", ()) else [])]
    types = part.get("type", ANY_TYPE)
    names = [types] if isinstance(types, str) else list(types)
    if names == ["array"]:
        plain = [] if "object" in items["type"] else [tuple[_plain(items), ...]]
        return [*plain, tuple[Node, ...]]
    if names == ["object"]:
        return [Node, Mapping[str, Node], Mapping[str, str | None], Mapping[str, Any]]
    if values or names in (["integer"], ["boolean"]):
        return [type(values[0]) if values else _plain({"type": names[0]}), frozenset({Node, int})]
    return [
        Node,
        *([str] if "string" in names else []),
        *([frozenset({Node, int})] if "integer" in names else []),
    ]


def resolved(part: Any, schema: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of the definition that a part refers to, and the part with the keywords of that definition."""
    for reference in (part, *part.get("allOf", ())) if isinstance(part, dict) else ():
        if "$ref" in reference:
            name = reference["$ref"].rpartition("/")[2]
            return name, {**schema["definitions"][name], **part}
    return "", part


def _plain(part: dict[str, Any]) -> Any:
    """The Python type of a value without expressions."""
    types = part["type"]
    names = [types] if isinstance(types, str) else types
    python: dict[str, Any] = {"integer": int, "boolean": bool, "string": str}
    return functools.reduce(operator.or_, (python[name] for name in names))


# --- Values ----------------------------------------------------------------------------------------------


def test_names_in_the_code_are_those_of_the_schema() -> None:
    """Where a class has a `Literal`, the type checker compares the code that uses it."""
    definitions = SCHEMAS["mapping"]["definitions"]
    assert set(BUILTINS) == set(definitions["route"]["properties"]["builtin"]["enum"])
    assert set(RATE_KEYS) == set(definitions["rate_limit"]["properties"]["by"]["enum"])
    framings = {*definitions["from"]["properties"]} | {*definitions["to"]["properties"]}
    assert framings == set(FRAMINGS)
    retried = definitions["retry"]["properties"]["on"]["items"]
    assert set(retried["pattern"].strip("^()$").split("|")) <= set(CALL_FAILURES)


# --- Defaults --------------------------------------------------------------------------------------------


@each_field
def test_a_default_is_in_the_schema(cls: type[Spec], field: Field[Any]) -> None:
    """Except for null, empty collections, and values that a file cannot have, such as an absent name."""
    schema, _ = CLASSES[cls]
    part = definition(cls)["properties"][key_of(field)]
    default = json.loads(json.dumps(default_of(field))) if default_of(field) is not MISSING else None
    validator = Draft7Validator({**part, "definitions": schema["definitions"]})
    is_value = default not in (None, [], {}) and key_of(field) not in definition(cls).get("required", ())
    wanted = [default] if is_value and validator.is_valid(default) else []
    assert [part[key] for key in part if key == "default"] == wanted


def test_no_default_is_outside_of_a_class() -> None:
    """So the test above compares all of them."""
    for schema in SCHEMAS.values():
        own = [
            schema if name == "#" else schema["definitions"][name]
            for s, name in CLASSES.values()
            if s is schema
        ]
        compared = [
            part["default"] for found in own for part in found["properties"].values() if "default" in part
        ]
        assert sorted(map(str, compared)) == sorted(map(str, _defaults(schema)))


def _defaults(value: Any) -> Iterator[Any]:
    """Each value of the keyword `default` in a schema; a key of this name has an object."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "default" and not isinstance(inner, dict):
                yield inner
            elif key not in ("examples", "defaultSnippets"):
                yield from _defaults(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _defaults(inner)


@each_field
def test_a_description_has_no_default_that_is_a_keyword(cls: type[Spec], field: Field[Any]) -> None:
    part = definition(cls)["properties"][key_of(field)]
    assert "default" not in part or "default" not in part.get("description", "").lower()
