"""Huge expressions: each one works or is refused quickly, and raises no unexpected error."""

from __future__ import annotations

from typing import Any

import pytest

from engine.diagnostics import Findings
from engine.errors import EvaluationError
from engine.language.codegen import Atom
from engine.language.expressions import MAX_LENGTH, Scope
from engine.language.templates import TemplateCompiler
from tests.support.times import SOON, time_limit

from .compiled import Refused, compiled, scalar, search

LARGE = {
    "not": "!" * 3000 + "a",
    "parentheses": "(" * 2000 + "a" + ")" * 2000,
    "open parentheses": "(" * 4000,
    "lists": "[" * 900 + "a" + "]" * 900,
    "objects": "{a: " * 700 + "b" + "}" * 700,
    "or": " || ".join(["a"] * 5000),
    "or, within the length": "||".join("a" * 1300),
    "and": "&&".join("a" * 1300),
    "pipes": "|".join("a" * 2000),
    "fields": ".".join("a" * 2000),
    "indices": "a" + "[0]" * 1300,
    "projections": "a" + "[*].b" * 30,
    "many projections": "a" + "[*]" * 1000,
    "flattened": "a" + "[]" * 30,
    "filters": "a" + "[?b]" * 30,
    "nested filters": "a[?" * 30 + "b" + "]" * 30,
    "values": "a" + ".*" * 30,
    "maps": "map(&" * 30 + "a" + ", @)" * 30,
    "calls": "to_array(" * 400 + "a" + ")" * 400,
    "comparisons": "==".join("a" * 1300),
    "literal": "`" + "[" * 1500 + "]" * 1500 + "`",
    "too deep a literal": "`" + "[" * 2040 + "]" * 2040 + "`",
    "long": "a" * 5000,
    "names": "[" + ", ".join(f"a{i}" for i in range(600)) + "]",
    "arguments": "concat(" + ", ".join("a" * 1300) + ")",
    "number": "a[" + "9" * 4000 + "]",
    "slice": "a[" + "9" * 4000 + ":]",
    "number in a literal": "`" + "9" * 4090 + "`",
    "open quote": "'" + "\\'" * 2000,
    "open literal": "`" + "\\`" * 2000,
    "braces": "{" * 4000,
}


def refusal(text: str, payload: Any) -> set[str]:
    """The codes of the findings for an expression; empty if it works or fails at run time."""
    try:
        search(text, payload)
    except Refused as refused:
        return {finding.code for finding in refused.findings}
    except EvaluationError:
        return set()
    return set()


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE.keys())
def test_huge_expressions_work_or_are_refused_quickly(text: str) -> None:
    for payload in (None, {"a": [{"b": [{"b": 1}]}]}):
        with time_limit(SOON):
            assert refusal(text, payload) <= {"bad-expression", "too-deep"}


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE.keys())
def test_huge_expressions_in_templates_work_or_are_refused_quickly(text: str) -> None:
    for template in (f"${{ {text} }}", f"a ${{ {text} }} b", f"${{ {text}"):
        findings = Findings()
        with time_limit(SOON):
            TemplateCompiler(findings).compile(scalar(template), Scope(Atom("p"), {}), "body")
        assert {finding.code for finding in findings} <= {"bad-expression", "too-deep"}


def test_a_megabyte_of_open_quotes_takes_linear_time() -> None:
    findings = Findings()
    with time_limit(SOON):
        TemplateCompiler(findings).compile(scalar("${ '" + "\\'" * 500_000), Scope(Atom("p"), {}), "body")
    assert [finding.code for finding in findings] == ["bad-expression"]


def test_expressions_within_the_limits_work() -> None:
    assert search("||".join(["a"] * 60 + ["b"]), {"b": 1}) == 1
    assert search(".".join("a" * 2000), {}) is None
    assert search("(" * 60 + "a" + ")" * 60, {"a": 1}) == 1
    assert search("'" + "x" * (MAX_LENGTH - 2) + "'") == "x" * (MAX_LENGTH - 2)
    with pytest.raises(Refused):
        compiled("'" + "x" * (MAX_LENGTH - 1) + "'")


def test_thirty_nested_projections_work() -> None:
    nested: Any = "x"
    for _ in range(30):
        nested = [{"b": nested}]
    assert search("@" + "[*].b" * 30, nested) == wrapped("x", 30)
    assert search("@" + "[].b" * 30 + "[]", nested) == ["x"]


def wrapped(value: Any, times: int) -> Any:
    return value if times == 0 else [wrapped(value, times - 1)]
