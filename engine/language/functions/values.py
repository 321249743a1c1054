"""Functions on any value: absence, choice, types and conversion.

Contract: null means absence; the lazy functions are compiled in place, and their implementations here define
their meaning.
This module must not know how expressions are compiled.
"""

from __future__ import annotations

import math
import re
from typing import Any

from engine.language.functions.bounds import in_range
from engine.language.functions.registry import NO_COST, function
from engine.values import MAX_DIGITS, truth, type_name

#: RFC 8259, section 6; the group makes it a float.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)")
_LONGEST_NUMBER = MAX_DIGITS
#: An integer with fewer digits fits into 64 bits.
_FEW_DIGITS = 19


@function("default(value: any, fallback: any) -> any", lazy=True)
def default(value: Any, fallback: Any) -> Any:
    """The value, or `fallback` if it is null.

    Unlike `value || fallback` it preserves false, "", [] and {}. The fallback is evaluated only when needed.

    Examples:
        default(`null`, `true`) => true
        default(`false`, `true`) => false
        default('', 'x') => ""
    """
    return fallback if value is None else value


@function("if(condition: any, then: any, else?: any) -> any", lazy=True)
def if_(condition: Any, then: Any, otherwise: Any = None) -> Any:
    """`then` if the condition is true, else `else` or null.

    As in JMESPath, everything is true except null, false, "", [] and {}; 0 is true. Only the chosen branch is
    evaluated.

    Examples:
        if(`true`, 'a', 'b') => "a"
        if(`[]`, 'a', 'b') => "b"
        if(`0`, 'a') => "a"
        if('', 'a') => null
    """
    return then if truth(condition) else otherwise


@function("nullable(value: any) -> any", lazy=True)
def nullable(value: Any) -> Any:
    """The value; if it is null, its key or item is written with null instead of being omitted.

    Examples:
        nullable(`null`) => null
        nullable('a') => "a"
    """
    return value


@function("not_null(...values: any) -> any", lazy=True)
def not_null(*values: Any) -> Any:
    """The first of the values that is not null, or null (JMESPath specification).

    Examples:
        not_null(`null`, `false`, 'a') => false
        not_null(`null`) => null
    """
    return next((value for value in values if value is not None), None)


@function("type(value: any) -> string", cost=NO_COST)
def type_(value: Any) -> str:
    """The type of the value: string, number, boolean, array, object or null (JMESPath specification).

    Examples:
        type(`1.5`) => "number"
        type(`false`) => "boolean"
        type(`null`) => "null"
    """
    return type_name(value)


@function("to_array(value: any) -> array")
def to_array(value: Any) -> list[Any]:
    """A list unchanged, any other value as the only item of a list (JMESPath specification).

    Examples:
        to_array('a') => ["a"]
        to_array(`[1, 2]`) => [1, 2]
        to_array(`null`) => [null]
    """
    return value if isinstance(value, list) else [value]


@function("to_number(value: any) -> number|null")
def to_number(value: Any) -> int | float | None:
    """A number unchanged, the number of a string that is a JSON number, null for anything else.

    JMESPath specification. White space, `+1`, `.5`, `1.`, `1_000`, `0x1`, `NaN` and `Infinity` are not JSON
    numbers. An integer beyond 64 bits becomes a float; beyond the range of a double the result is null.

    Examples:
        to_number('1.5') => 1.5
        to_number('7') => 7
        to_number('-1e3') => -1000.0
        to_number('seven') => null
        to_number(' 7') => null
        to_number('1_000') => null
        to_number('18446744073709551616') => 18446744073709551616.0
        to_number(`true`) => null
        to_number('1e999') => null
    """
    return _number(value)


def _number(value: Any) -> int | float | None:
    if isinstance(value, str):
        return _numeric(value)
    return value if type(value) in (int, float) else None


def _numeric(text: str) -> int | float | None:
    """The number of a text that is a JSON number (RFC 8259, section 6) within the range of a double."""
    if len(text) < _FEW_DIGITS and text.isdigit() and text.isascii() and (text[0] != "0" or text == "0"):
        return int(text)
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > _LONGEST_NUMBER:
        return None
    if not match[1]:
        return _within_range(int(text))
    number = float(text)
    return number if math.isfinite(number) else None


def _within_range(number: float) -> int | float | None:
    """The integer part of a number; null beyond the range of a double."""
    try:
        result: int | float = in_range(int(number))
    except (OverflowError, ValueError):
        return None
    return result


@function("int(value: any) -> number|null")
def int_(value: Any) -> int | float | None:
    """The integer part of a number or of a numeric string; null for anything else.

    The number is truncated towards zero. Beyond 64 bits it stays a float, as in JSON readers.

    Examples:
        int(`2.9`) => 2
        int(`-2.9`) => -2
        int('42') => 42
        int('4.2e1') => 42
        int('many') => null
        int(`true`) => null
    """
    number = _number(value)
    return None if number is None else _within_range(number)


@function("clamp(value: number|null, low: number, high: number) -> number|null")
def clamp(value: float | None, low: float, high: float) -> float | None:
    """The number nearest to `value` between `low` and `high`; null for null.

    Examples:
        clamp(`1.5`, `0`, `1`) => 1
        clamp(`-3`, `0`, `1`) => 0
        clamp(`0.7`, `0`, `1`) => 0.7
        clamp(`null`, `0`, `1`) => null
    """
    return None if value is None else min(max(value, low), high)
