"""Compares compiled expressions with jmespath's interpreter, on generated expressions and data.

Three differences are intended. `merge` accepts objects only, as the specification requires; jmespath.py
checks only the first argument. Ordering values of different types gives null, where jmespath raises an error.
And `not_null` evaluates no more arguments than it needs.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

import jmespath
import pytest
from hypothesis import currently_in_test_context, given, note
from hypothesis import strategies as st
from jmespath import functions, parser, visitor

from engine.errors import EvaluationError
from engine.language.expressions import QUOTED
from engine.values import less, less_equal
from tests.support.properties import property_settings

from .compiled import Refused, Warnings, compiled, same
from .generated import DATA, OBJECTS, expressions, literal

_VARIABLE = re.compile(rf"{QUOTED}|\$v([0-9])")

_ORDER = {
    "lt": less,
    "lte": less_equal,
    "gt": lambda left, right: less(right, left),
    "gte": lambda left, right: less_equal(right, left),
}


class StrictFunctions(functions.Functions):  # type: ignore[misc]
    @functions.signature({"types": ["object"], "variadic": True})  # type: ignore[untyped-decorator]
    def _func_merge(self, *objects: Any) -> Any:
        if not all(isinstance(each, dict) for each in objects):
            raise TypeError("merge takes objects")
        return super()._func_merge(*objects)


OPTIONS = jmespath.Options(custom_functions=StrictFunctions())


class Lenient(visitor.TreeInterpreter):  # type: ignore[misc]
    def visit_comparator(self, node: Any, value: Any) -> Any:
        order = _ORDER.get(node["value"])
        if order is None:
            return super().visit_comparator(node, value)
        return order(*(self.visit(child, value) for child in node["children"]))

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        if node["value"] != "not_null":
            return super().visit_function_expression(node, value)
        values = (self.visit(child, value) for child in node["children"])
        return next((value for value in values if value is not None), None)


FAILURE = object()


def expected(text: str, data: Any) -> Any:
    """The value according to jmespath, or `FAILURE`."""
    try:
        return jmespath.search(text, data, OPTIONS)
    except Exception:
        return expected_leniently(text, data)


def expected_leniently(text: str, data: Any) -> Any:
    try:
        return Lenient(OPTIONS).visit(parser.Parser().parse(text).parsed, data)
    except Exception:
        return FAILURE


def check(text: str, data: Any, reference: str, **variables: Any) -> None:
    """Check that both values are equal or both fail, and that only the engine's own errors are raised."""
    wanted = expected(reference, data)
    found, why = actual(text, data, variables)
    if why <= {"wrong-argument", "misplaced-not"} and found is FAILURE and why:
        return  # a certain mistake is refused at load, even if never evaluated
    assert (found is FAILURE) == (wanted is FAILURE), (found, wanted, why)
    assert found is FAILURE or same(found, wanted), (found, wanted)


def report(source: str) -> None:
    """Add the generated code to Hypothesis's failure report."""
    if currently_in_test_context():
        note(source)


def actual(text: str, data: Any, variables: dict[str, Any]) -> tuple[Any, set[str]]:
    """The value of the compiled expression, or `FAILURE` and the codes of its findings."""
    try:
        function = compiled(text, **variables)
        report(function.source)
        return function.function(data, Warnings()), set()
    except Refused as refused:
        return FAILURE, {finding.code for finding in refused.findings}
    except EvaluationError:
        return FAILURE, set()


#: One value of each kind that truth and comparison distinguish.
SORTS = [
    None,
    True,
    False,
    0,
    1,
    -1,
    0.0,
    1.0,
    1.5,
    2**53,
    "",
    "a",
    "b",
    "0",
    "1",
    "é",
    [],
    [0],
    [None],
    {},
    {"a": 0},
]
_BINARY = ["{} == {}", "{} != {}", "{} < {}", "{} <= {}", "{} > {}", "{} >= {}", "{} || {}", "{} && {}"]
_UNARY = [
    "!{}",
    "!!{}",
    "{} && 'x'",
    "{} || 'x'",
    "[{}][?@]",
    "[{}][?!@]",
    "{}.a",
    "{}[0]",
    "{}[:1]",
    "{}[*]",
]
_UNARY += ["{}.*", "{}[]", "{}.[@]", "{}.{{k: @}}", "{} | type(@)", "not_null({}, 'x')", "to_array({})"]


@pytest.mark.parametrize("form", _BINARY)
def test_operators_on_two_values_of_all_kinds(form: str) -> None:
    for left, right in itertools.product(SORTS, SORTS):
        check(form.format("a", "b"), {"a": left, "b": right}, form.format("a", "b"))
        for one, other in ((literal(left), "b"), ("a", literal(right)), (literal(left), literal(right))):
            check(form.format(one, other), {"a": left, "b": right}, form.format(one, other))


@pytest.mark.parametrize("form", _UNARY)
def test_expressions_on_one_value_of_each_kind(form: str) -> None:
    for value in SORTS:
        for text in (form.format("a"), form.format(literal(value))):
            check(text, {"a": value}, text)
        check(form.format("$v"), None, form.format(literal(value)), v=value)


PROPERTY = property_settings(250, 700, is_seeded=True)


@PROPERTY
@given(expressions(), OBJECTS | DATA)
def test_generated_expressions_give_the_results_of_jmespath(text: str, data: Any) -> None:
    check(text, data, text)


@PROPERTY
@given(expressions(3, variables=True), OBJECTS | DATA, st.tuples(DATA, DATA, OBJECTS))
def test_a_variable_evaluates_like_a_literal_of_its_value(
    text: str, data: Any, values: tuple[Any, ...]
) -> None:
    names = [f"v{i}" for i in range(len(values))]
    reference = _VARIABLE.sub(lambda m: literal(values[int(m[1])]) if m[1] else m[0], text)
    check(text, data, reference, **dict(zip(names, values, strict=True)))
