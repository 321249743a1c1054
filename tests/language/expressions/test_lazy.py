"""Lazy evaluation: unneeded arguments and operands write no warning and raise no error."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import ExchangeError

from .compiled import Warnings, compiled

PAYLOAD = {"yes": 1, "no": False, "zero": 0, "empty": [], "text": "a", "objects": [{"k": "a"}, {"k": None}]}

#: (expression, its value, number of warnings); FAIL raises an error that ends the request.
FAIL = "fail('internal', 'never')"
WARN = "warn('w', 'warned')"
CASES: list[tuple[str, Any, int]] = [
    (f"if(yes, 'a', {FAIL})", "a", 0),
    (f"if(zero, 'a', {FAIL})", "a", 0),
    (f"if(no, {FAIL}, 'b')", "b", 0),
    (f"if(empty, {FAIL})", None, 0),
    (f"if(no, {WARN}, 'b')", "b", 0),
    (f"if(yes, {WARN}, 'b')", "w", 1),
    (f"if(yes, if(no, {FAIL}, 'c'), {FAIL})", "c", 0),
    (f"default(text, {FAIL})", "a", 0),
    (f"default(no, {FAIL})", False, 0),
    (f"default(empty, {WARN})", [], 0),
    (f"default(missing, {WARN})", "w", 1),
    (f"not_null(missing, text, {FAIL})", "a", 0),
    (f"not_null(no, {WARN})", False, 0),
    (f"not_null(missing, missing, {WARN}, {FAIL})", "w", 1),
    (f"text || {FAIL}", "a", 0),
    (f"zero || {FAIL}", 0, 0),
    (f"no || {WARN}", "w", 1),
    (f"no && {FAIL}", False, 0),
    (f"missing && {WARN}", None, 0),
    (f"empty && {FAIL}", [], 0),
    (f"yes && {WARN}", "w", 1),
    (f"no && {FAIL} || text", "a", 0),
    (f"(text || {FAIL}).missing || {WARN}", "w", 1),
    (f"objects[?k && {WARN}] | length(@)", 1, 1),
    (f"objects[*].[k || {WARN}][]", ["a", "w"], 1),
    (f"objects[?no].[{FAIL}]", [], 0),
    (f"map(&default(k, {WARN}), objects)", ["a", "w"], 1),
    (f"missing[*].[{FAIL}]", None, 0),
    (f"empty[*].[{FAIL}]", [], 0),
    (f"missing.[{FAIL}]", None, 0),
    (f"missing.{{a: {FAIL}}}", None, 0),
    (f"text == 'a' || {FAIL}", True, 0),
    (f"!text && {FAIL}", False, 0),
]


@pytest.mark.parametrize(("text", "value", "warnings"), CASES)
def test_unneeded_operands_are_not_evaluated(text: str, value: Any, warnings: int) -> None:
    exchange, function = Warnings(), compiled(text)
    assert function.function(PAYLOAD, exchange) == value, function.source
    assert exchange.warnings == ["warned"] * warnings, function.source


@pytest.mark.parametrize(
    "text", [f"{FAIL} || text", f"missing || {FAIL}", f"if(yes, {FAIL})", f"concat(missing || {FAIL})"]
)
def test_needed_operands_are_evaluated(text: str) -> None:
    with pytest.raises(ExchangeError):
        compiled(text).function(PAYLOAD, Warnings())
