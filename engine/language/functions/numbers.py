"""Arithmetic.

Contract: integers stay exact within 64 bits and become floats beyond, as in JSON readers; a result beyond the
range of a double is an EvaluationError, so NaN and infinity never arise. A null operand gives null.
This module must not know units.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from engine.errors import EvaluationError
from engine.language.functions.bounds import in_range, too_large
from engine.language.functions.registry import Cost, function

Number = int | float


def _calculate(name: str, operation: Callable[[Any, Any], Any], a: Number | None, b: Number | None) -> Any:
    """The result of an operation on two numbers, within the range of JSON numbers; null for null."""
    if a is None or b is None:
        return None
    try:
        return in_range(operation(a, b))
    except OverflowError:
        raise too_large(name) from None
    except ZeroDivisionError:
        raise EvaluationError(f"{name}() by zero") from None


@function("add(a: number|null, b: number|null) -> number|null")
def add(a: Number | None, b: Number | None) -> Any:
    """The sum of two numbers; null where one of them is null. `sum` adds up a list.

    Examples:
        add(`1`, `2`) => 3
        add(`1.5`, `null`) => null
        add(`1e308`, `1e308`) => !
    """
    return _calculate("add", operator.add, a, b)


@function("subtract(a: number|null, b: number|null) -> number|null")
def subtract(a: Number | None, b: Number | None) -> Any:
    """`a` minus `b`; null where one of them is null.

    Examples:
        subtract(`1`, `2.5`) => -1.5
        subtract(`null`, `2`) => null
    """
    return _calculate("subtract", operator.sub, a, b)


@function("multiply(a: number|null, b: number|null) -> number|null")
def multiply(a: Number | None, b: Number | None) -> Any:
    """The product of two numbers; null where one of them is null.

    Examples:
        multiply(`12.5`, `1000000`) => 12500000.0
        multiply(`3`, `null`) => null
    """
    return _calculate("multiply", operator.mul, a, b)


@function("divide(a: number|null, b: number|null) -> number|null")
def divide(a: Number | None, b: Number | None) -> Any:
    """`a` divided by `b`; null where one of them is null. Integers give an integer if there is no remainder.

    Examples:
        divide(`6`, `3`) => 2
        divide(`7`, `2`) => 3.5
        divide(`1`, `0`) => !
        divide(`null`, `0`) => null
    """
    return _calculate("divide", _quotient, a, b)


def _quotient(a: Number, b: Number) -> Number:
    both_integers = isinstance(a, int) and isinstance(b, int)
    return a // b if both_integers and a % b == 0 else a / b


@function("modulo(a: number|null, b: number|null) -> number|null")
def modulo(a: Number | None, b: Number | None) -> Any:
    """The remainder of `a` divided by `b`, with the sign of `b`; null where one of them is null.

    Examples:
        modulo(`7`, `3`) => 1
        modulo(`-1`, `3`) => 2
        modulo(`1`, `0`) => !
    """
    return _calculate("modulo", operator.mod, a, b)


@function("abs(value: number) -> number")
def abs_(value: Number) -> Number:
    """The absolute value (JMESPath specification).

    Examples:
        abs(`-1.5`) => 1.5
        abs('1') => !
    """
    return abs(value)


@function("ceil(value: number) -> number")
def ceil(value: Number) -> Any:
    """The least integer that is not less than the number (JMESPath specification).

    Examples:
        ceil(`1.2`) => 2
        ceil(`-1.2`) => -1
    """
    return _to_integer("ceil", math.ceil, value)


@function("floor(value: number) -> number")
def floor(value: Number) -> Any:
    """The greatest integer that is not greater than the number (JMESPath specification).

    Examples:
        floor(`1.8`) => 1
        floor(`-1.2`) => -2
    """
    return _to_integer("floor", math.floor, value)


def _to_integer(name: str, rounding: Callable[[Number], int], value: Number) -> Any:
    try:
        return in_range(rounding(value))
    except (OverflowError, ValueError):
        raise too_large(name) from None


@function("sum(list: array[number]) -> number")
def sum_(numbers: list[Number]) -> Number:
    """The sum of a list of numbers, 0 for none (JMESPath specification).

    Beyond 64 bits it becomes a float.

    Examples:
        sum(`[1, 2.5]`) => 3.5
        sum(`[18446744073709551615, 1]`) => 18446744073709551616.0
        sum(`[]`) => 0
        sum(`[1, null]`) => !
    """
    return _finite("sum", sum, numbers)


@function("avg(list: array[number]) -> number|null")
def avg(numbers: list[Number]) -> Number | None:
    """The mean of a list of numbers, null for none (JMESPath specification).

    Examples:
        avg(`[1, 2]`) => 1.5
        avg(`[]`) => null
    """
    return _finite("avg", _mean, numbers) if numbers else None


def _mean(numbers: list[Number]) -> Number:
    return sum(numbers) / len(numbers)


def _finite(name: str, calculation: Callable[[list[Number]], Number], numbers: list[Number]) -> Number:
    try:
        result: Number = in_range(calculation(numbers))
    except OverflowError:
        raise too_large(name) from None
    return result


@function("normalize(vector: array[number]|null) -> array|null", cost=Cost(item_bytes=8))
def normalize(vector: list[Number] | None) -> list[float] | None:
    """The vector scaled to the Euclidean length 1, as floats; null for null.

    Such as an embedding that a server returns without normalization, or whose dimensions were reduced. A
    vector of zeros, which has no direction, is returned unchanged.

    Examples:
        normalize(`[3, 4]`) => [0.6, 0.8]
        normalize(`[0, 0]`) => [0, 0]
        normalize(`[]`) => []
        normalize(`[1e200, 0]`) => [1.0, 0.0]
        normalize(`[1.7e308, 1.7e308]`) => !
        normalize(`null`) => null
    """
    if vector is None:
        return None
    try:
        length = math.hypot(*vector)
    except OverflowError:
        length = math.inf
    if math.isinf(length):
        raise too_large("normalize")
    if length == 0:
        return list(vector)
    return [number / length for number in vector]
