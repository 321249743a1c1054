"""Checks that all functions share: the size of texts, integers, finite results, valid Unicode.

Contract: each takes the name of the calling function for the message, returns the checked value, and
raises an EvaluationError that names types and functions, never values.
This module must not know any function.
"""

from __future__ import annotations

import math
from typing import Any

from engine.errors import EvaluationError

#: The longest text that a function creates, in characters: 16 Mi.
MAX_TEXT = 16 * 1024 * 1024

#: The longest list that a function creates from a text: each item takes many times the memory of a character.
MAX_PARTS = 1_000_000

#: The range of integers that 64-bit JSON readers and writers represent exactly.
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1


class NotGiven:
    """The type of `NOT_GIVEN`: an optional argument, which may itself be null, was omitted."""


NOT_GIVEN = NotGiven()


def check_length(name: str, length: int) -> None:
    """Raise if a text would be too long, before it is created."""
    if length > MAX_TEXT:
        raise EvaluationError(f"{name}() would make a string of more than {MAX_TEXT} characters")


def check_parts(name: str, count: int) -> None:
    """Raise if a list made from a text would be too long, before it is created."""
    if count > MAX_PARTS:
        raise EvaluationError(f"{name}() would make a list of more than {MAX_PARTS} items")


def bounded(name: str, text: str) -> str:
    check_length(name, len(text))
    return text


def utf8(name: str, text: str) -> bytes:
    """The text as UTF-8; a lone surrogate has no UTF-8 form (RFC 3629 section 3)."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise EvaluationError(f"{name}() got a string with a lone surrogate") from None


def whole(name: str, parameter: str, number: float, low: float = -math.inf, high: float = math.inf) -> int:
    """The integer value of a number within bounds; `2.0` is an integer."""
    if not low <= number <= high or (isinstance(number, float) and not number.is_integer()):
        limits = "" if low == -math.inf else f" from {low}" if high == math.inf else f" from {low} to {high}"
        raise EvaluationError(f"{name}() takes an integer{limits} as {parameter}")
    return int(number)


def in_range(number: Any) -> Any:
    """The number as a 64-bit JSON number: a larger integer becomes a float.

    Raises:
        OverflowError: it is beyond the range of a double.
    """
    if type(number) is int and MIN_INTEGER <= number <= MAX_INTEGER:
        return number
    if not math.isfinite(number):
        raise OverflowError
    return float(number)


def too_large(name: str) -> EvaluationError:
    return EvaluationError(f"{name}() gave a number beyond the range of a double")


def too_deep(name: str) -> EvaluationError:
    return EvaluationError(f"{name}() got a value that is nested too deeply")
