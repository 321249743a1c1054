"""The schema and the spec agree: each class of the spec has a definition in the schema."""

from __future__ import annotations

import dataclasses
import json

import pytest

from engine import schema_text
from engine.language import spec

SCHEMA = json.loads(schema_text("mapping"))

#: Fields of a spec that are not keys: its node, and the two parts of a route's key.
NOT_KEYS = {"node", "method", "path"}


def definition(name: str) -> dict[str, object]:
    found = SCHEMA if name == "#" else SCHEMA["definitions"][name]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("cls", spec.DEFINITIONS, ids=lambda cls: cls.__name__)
def test_a_class_has_the_fields_of_its_definition(cls: type) -> None:
    name = spec.DEFINITIONS[cls]
    properties = definition(name)["properties"]
    assert isinstance(properties, dict)
    not_keys = NOT_KEYS if name == "route" else {"node"}
    fields = {field.name.rstrip("_") for field in dataclasses.fields(cls)} - not_keys
    assert fields == set(properties)


def test_every_object_of_the_schema_has_a_class_or_is_evaluated_at_load() -> None:
    evaluated_at_load = {
        "timeout",
        "tls",
        "upstream_auth",
        "named_value",
        "basic",
        "auth",
        "client_key",
        "rate_limit",
        "from",
    }
    objects = {name for name, found in SCHEMA["definitions"].items() if "properties" in found}
    assert objects - evaluated_at_load == set(spec.DEFINITIONS.values()) - {"#"}
