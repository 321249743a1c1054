"""`dragoman schema`: the schemas as they are packaged."""

from __future__ import annotations

import json

import pytest

from engine import schema_text
from tests.support.commands import run


@pytest.mark.parametrize("name", ["mapping", "suite"])
def test_schemas_are_printed_unchanged(name: str) -> None:
    assert json.loads(run("schema", name).output) == json.loads(schema_text(name))


def test_an_unknown_schema_is_a_usage_error() -> None:
    shown = run("schema", "x")
    assert shown.exit_code == 2
    assert "'x' is not one of 'mapping', 'suite'" in shown.stderr
