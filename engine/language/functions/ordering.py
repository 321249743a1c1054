"""Functions that compare: sorting, minimum and maximum.

Contract: numbers compare with numbers and strings with strings, by code point; sorting is stable. All of this
is the JMESPath specification; what a signature cannot express (the type of a key) is checked here.
This module must not know what the items are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.errors import EvaluationError
from engine.language.functions.registry import function
from engine.values import type_name


@function("sort(list: array[number|string]) -> array")
def sort(elements: list[Any]) -> list[Any]:
    """The numbers, or the strings, in ascending order (JMESPath specification).

    Examples:
        sort(`[3, 1.5, 2]`) => [1.5, 2, 3]
        sort(`["b", "a", "B"]`) => ["B", "a", "b"]
        sort(`[1, "a"]`) => !
    """
    return sorted(elements)


@function("max(list: array[number|string]) -> number|string|null")
def max_(elements: list[Any]) -> Any:
    """The greatest of numbers or of strings; null for an empty list (JMESPath specification).

    Examples:
        max(`[2, 3, 1]`) => 3
        max(`["a", "b"]`) => "b"
        max(`[]`) => null
    """
    return max(elements, default=None)


@function("min(list: array[number|string]) -> number|string|null")
def min_(elements: list[Any]) -> Any:
    """The least of numbers or of strings; null for an empty list (JMESPath specification).

    Examples:
        min(`[2, 3, 1]`) => 1
        min(`[]`) => null
    """
    return min(elements, default=None)


@function("sort_by(list: array, key: expression) -> array")
def sort_by(elements: list[Any], key: Callable[[Any], Any]) -> list[Any]:
    """The items in ascending order of their keys, all numbers or all strings (JMESPath specification).

    Examples:
        sort_by(`[{"n": 2}, {"n": 1}]`, &n)[*].n => [1, 2]
        sort_by(`[{"n": 2}, {"m": 1}]`, &n) => !
        sort_by(`[]`, &n) => []
    """
    return sorted(elements, key=_one_type_of_key("sort_by", key))


@function("max_by(list: array, key: expression) -> any")
def max_by(elements: list[Any], key: Callable[[Any], Any]) -> Any:
    """The item with the greatest key, the first of equals; null for an empty list (JMESPath specification).

    Examples:
        max_by(`[{"n": 2, "x": "a"}, {"n": 5, "x": "b"}]`, &n).x => "b"
        max_by(`[{"n": true}]`, &n) => !
        max_by(`[]`, &n) => null
    """
    return max(elements, key=_one_type_of_key("max_by", key), default=None)


@function("min_by(list: array, key: expression) -> any")
def min_by(elements: list[Any], key: Callable[[Any], Any]) -> Any:
    """The item with the least key, the first of equals; null for an empty list (JMESPath specification).

    Examples:
        min_by(`[{"n": 2, "x": "a"}, {"n": 5, "x": "b"}]`, &n).x => "a"
        min_by(`[]`, &n) => null
    """
    return min(elements, key=_one_type_of_key("min_by", key), default=None)


def _one_type_of_key(name: str, key: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The key function; raises for a key that is neither number nor string, or unlike the first key."""
    first = ""

    def checked(element: Any) -> Any:
        nonlocal first
        value = key(element)
        found = type_name(value)
        if found not in ("number", "string") or found != (first or found):
            raise EvaluationError(f"{name}() takes keys that are all numbers or all strings, not {found}")
        first = found
        return value

    return checked
