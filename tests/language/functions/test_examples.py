"""Every example in the functions' documentation, compiled as in a mapping, gives the documented value.

A constant argument of a wrong type is a finding at load; with its literals moved to the payload, the same
call must fail at run time.
"""

from __future__ import annotations

import re
from typing import Any

import jmespath
import pytest

from engine.diagnostics import Findings
from engine.errors import EvaluationError, ExchangeError
from engine.language.budget import Budget
from engine.language.codegen import Atom, Compiled, span_of_traceback
from engine.language.expressions import CLIENT_BODY, QUOTED, Scope
from engine.language.functions import FUNCTIONS, Example
from engine.language.templates import TemplateCompiler
from engine.language.uses import VariableOrigin
from engine.locations import Document, SourceFile
from engine.values import ABSENT, type_name

EXAMPLES = [
    pytest.param(example, id=f"{name}-{number}")
    for name, function in FUNCTIONS.items()
    for number, example in enumerate(function.examples)
]


class Exchange(Budget):
    """The part of the exchange that functions use."""

    started_ns = 0

    def warn(self, message: str) -> None:
        assert message

    def drop(self, field: str) -> None:
        assert field


def compiled(expression: str) -> tuple[Compiled, Findings]:
    template, findings = f"${{ {expression} }}", Findings()
    document = Document(SourceFile("example.yaml", template), template)
    function = TemplateCompiler(findings).compile(
        document.root, Scope(Atom("p", origin=VariableOrigin(CLIENT_BODY)), {}), expression
    )
    return function, findings


def with_fields(expression: str) -> tuple[str, dict[str, Any]]:
    """The expression with fields instead of literals, and the payload with the values of these fields."""
    payload: dict[str, Any] = {}

    def field(match: re.Match[str]) -> str:
        name = f"k{len(payload)}"
        payload[name] = jmespath.search(match[0], None)
        return name

    return re.sub(QUOTED, field, expression), payload


def same(one: object, other: object) -> bool:
    """Equality with equal types at any depth: 1 is not true, and 1 and 1.0 are one number."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type_name(one) == type_name(other) and one == other


def test_every_function_has_an_example() -> None:
    assert [name for name, function in FUNCTIONS.items() if not function.examples] == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_example(example: Example) -> None:
    function, findings = compiled(example.expression)
    if example.failure == "" and len(findings):
        assert {finding.code for finding in findings} == {"wrong-argument"}
        fields, payload = with_fields(example.expression)
        function, findings = compiled(fields)
    else:
        payload = {}
    assert not len(findings), [finding.message for finding in findings]
    if example.failure is not None:
        check_failure(example, function, payload)
    else:
        check_value(example, function)


def check_value(example: Example, function: Compiled) -> None:
    value = function.function({}, Exchange())
    keeps_null = example.expression.startswith("nullable(")
    assert value is not ABSENT or (example.value is None and not keeps_null), function.source
    assert same(None if value is ABSENT else value, example.value), function.source


def check_failure(example: Example, function: Compiled, payload: dict[str, Any]) -> None:
    with pytest.raises(ExchangeError if example.failure else EvaluationError) as failed:
        function.function(payload, Exchange())
    if isinstance(failed.value, ExchangeError):
        assert failed.value.kind == example.failure
    else:
        assert span_of_traceback(failed.value.__traceback__) is not None, function.source
