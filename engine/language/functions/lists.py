"""Functions on lists: size, membership, pairing and grouping.

Contract: order is preserved, arguments are never changed, and grouping visits each item once.
This module must not know what the items are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.errors import EvaluationError
from engine.language.functions.bounds import too_deep
from engine.language.functions.registry import NO_COST, Cost, function
from engine.values import type_name


@function("length(subject: string|array|object) -> number", cost=NO_COST)
def length(subject: str | list[Any] | dict[str, Any]) -> int:
    """The number of characters (code points), items or keys (JMESPath specification).

    Examples:
        length('né') => 2
        length(`[1, null]`) => 2
        length(`{}`) => 0
        length(`null`) => !
    """
    return len(subject)


@function("contains(subject: array|string, search: any) -> boolean", cost=Cost(compared=True))
def contains(subject: list[Any] | str, search: Any) -> bool:
    """Whether a list has an item that equals `search`, or a string has it within (JMESPath specification).

    Examples:
        contains(`["a", "b"]`, 'b') => true
        contains('foobar', 'oba') => true
        contains(`[]`, `null`) => false
        contains('foobar', `1`) => !
    """
    if isinstance(subject, str) and not isinstance(search, str):
        raise EvaluationError(f"contains() looks for a string in a string, not for {type_name(search)}")
    try:
        return search in subject
    except RecursionError:
        raise too_deep("contains") from None


@function("reverse(subject: array|string) -> array|string", cost=Cost(text_bytes=True))
def reverse(subject: list[Any] | str) -> list[Any] | str:
    """The items of a list, or the characters of a string, from last to first (JMESPath specification).

    Examples:
        reverse(`[1, 2, 3]`) => [3, 2, 1]
        reverse('abc') => "cba"
    """
    return subject[::-1]


@function("map(expression: expression, list: array) -> array")
def map_(expression: Callable[[Any], Any], elements: list[Any]) -> list[Any]:
    """The results of the expression for each item, nulls included (JMESPath specification).

    Examples:
        map(&a, `[{"a": 1}, {"b": 2}]`) => [1, null]
        map(&upper(@), `["x", "y"]`) => ["X", "Y"]
    """
    return [expression(element) for element in elements]


@function("zip(...lists: array) -> array", cost=Cost(item_bytes=8))
def zip_(*lists: list[Any]) -> list[list[Any]]:
    """A list of lists: the first items, the second items, and so on, up to the length of the shortest list.

    JMESPath Community, JEP-13.

    Examples:
        zip(`["a", "b", "c"]`, `[1, 2]`) => [["a", 1], ["b", 2]]
        zip(`[1]`) => [[1]]
    """
    return [list(each) for each in zip(*lists, strict=False)]


@function("enumerate(list: array|null) -> array|null", cost=Cost(item_bytes=24))
def enumerate_(elements: list[Any] | None) -> list[dict[str, Any]] | None:
    """Each item with its position, as `{index, value}`; null for null.

    Examples:
        enumerate(`["a", "b"]`) => [{"index": 0, "value": "a"}, {"index": 1, "value": "b"}]
        enumerate(`null`) => null
    """
    if elements is None:
        return None
    return [{"index": index, "value": value} for index, value in enumerate(elements)]


@function("group_by(list: array, key: expression) -> object")
def group_by(elements: list[Any], key: Callable[[Any], Any]) -> dict[str, list[Any]]:
    """The items in lists by key, which must be a string (JMESPath Community, JEP-18).

    Items whose key is null are omitted; a key of another type is an error.

    Examples:
        group_by(`[{"k": "a", "n": 1}, {"k": "b"}, {"k": "a", "n": 2}]`, &k).a[].n => [1, 2]
        group_by(`[{"n": 1}]`, &k) => {}
        group_by(`[{"k": 1}]`, &k) => !
    """
    groups: dict[str, list[Any]] = {}
    for element in elements:
        name = key(element)
        if type(name) is str:
            groups.setdefault(name, []).append(element)
        elif name is not None:
            raise EvaluationError(f"group_by() takes strings as keys, not {type_name(name)}")
    return groups


@function("group_adjacent(list: array|null, key: expression) -> array|null", cost=Cost(item_bytes=8))
def group_adjacent(elements: list[Any] | None, key: Callable[[Any], Any]) -> list[list[Any]] | None:
    """A list of lists: runs of adjacent items with equal keys; null for null.

    For example, it merges adjacent messages of one role for an API that allows only one.

    Examples:
        group_adjacent(`[{"r": "u"}, {"r": "a"}, {"r": "a"}, {"r": "u"}]`, &r)[*].length(@) => [1, 2, 1]
        group_adjacent(`[1, 1, 2]`, &@) => [[1, 1], [2]]
        group_adjacent(`[]`, &r) => []
        group_adjacent(`null`, &r) => null
    """
    if elements is None:
        return None
    groups: list[list[Any]] = []
    previous: Any = None
    for element in elements:
        current = key(element)
        if groups and _same(previous, current):
            groups[-1].append(element)
        else:
            groups.append([element])
        previous = current
    return groups


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON values: `true` is not equal to `1`, unlike in Python."""
    try:
        return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
    except RecursionError:
        raise too_deep("group_adjacent") from None
