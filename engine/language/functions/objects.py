"""Functions on objects: keys, tables, selection and renaming.

Contract: key order is preserved, arguments are never changed. A key is a string; another scalar is converted
to its JSON text, so that a table written in YAML has a value for `404` or `true`.
This module must not know JSON Schema or any API.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.errors import EvaluationError
from engine.language.functions.json_text import compact
from engine.language.functions.registry import NO_COST, Cost, function
from engine.values import type_name


def key_text(name: str, key: Any) -> str | None:
    """A value as the key of an object; None for null, arrays and objects."""
    if type(key) is str:
        return key
    return None if key is None or isinstance(key, (list, dict)) else compact(name, key)


@function("keys(object: object) -> array")
def keys(value: dict[str, Any]) -> list[str]:
    """The keys of an object, in its order (JMESPath specification).

    Examples:
        keys(`{"b": 1, "a": 2}`) => ["b", "a"]
        keys(`[]`) => !
    """
    return list(value)


@function("values(object: object) -> array")
def values(value: dict[str, Any]) -> list[Any]:
    """The values of an object, in its order (JMESPath specification).

    Examples:
        values(`{"b": 1, "a": null}`) => [1, null]
    """
    return list(value.values())


@function("merge(...objects: object) -> object")
def merge(*objects: dict[str, Any]) -> dict[str, Any]:
    """One object with the keys of all; for duplicate keys the last value wins (JMESPath specification).

    Examples:
        merge(`{"a": 1, "b": 2}`, `{"b": null}`) => {"a": 1, "b": null}
        merge(`{}`) => {}
    """
    merged: dict[str, Any] = {}
    for each in objects:
        merged.update(each)
    return merged


@function("items(object: object) -> array", cost=Cost(item_bytes=8))
def items(value: dict[str, Any]) -> list[list[Any]]:
    """The `[key, value]` pairs of an object, in its order (JMESPath Community, JEP-13).

    Examples:
        items(`{"b": 1, "a": 2}`) => [["b", 1], ["a", 2]]
    """
    return [[key, item] for key, item in value.items()]


@function("from_items(pairs: array[array]) -> object")
def from_items(pairs: list[list[Any]]) -> dict[str, Any]:
    """The object of `[key, value]` pairs; the last one wins (JMESPath Community, JEP-13).

    Examples:
        from_items(`[["one", 1], ["two", 2], ["one", 3]]`) => {"one": 3, "two": 2}
        from_items(`[["one"]]`) => !
        from_items(`[[1, 2]]`) => !
    """
    if not all(len(pair) == 2 and type(pair[0]) is str for pair in pairs):
        raise EvaluationError("from_items() takes pairs of a string and a value")
    return dict(pairs)


@function("lookup(table: object, key: any, default?: any) -> any", cost=NO_COST)
def lookup(table: dict[str, Any], key: Any, default: Any = None) -> Any:
    """The value of `key` in `table`, else `default` or null.

    Keys of objects are strings; another scalar is converted to its JSON text, so `404` finds "404". Null,
    arrays and objects are not keys and give the default. A null in the table is returned as null.

    Examples:
        lookup(`{"end_turn": "stop"}`, 'end_turn') => "stop"
        lookup(`{"end_turn": "stop"}`, 'refusal', 'other') => "other"
        lookup(`{"404": "not found"}`, `404`) => "not found"
        lookup(`{"true": "on"}`, `true`) => "on"
        lookup(`{"a": 1}`, `null`, 'none') => "none"
    """
    text = key_text("lookup", key)
    return default if text is None else table.get(text, default)


@function("pick(object: object|null, keys: array[string]) -> object|null")
def pick(value: dict[str, Any] | None, names: list[str]) -> dict[str, Any] | None:
    """The object with only the named keys, in the order of the names; null for null.

    Examples:
        pick(`{"a": 1, "b": 2, "c": null}`, `["c", "a", "x"]`) => {"c": null, "a": 1}
        pick(`null`, `["a"]`) => null
    """
    return None if value is None else {name: value[name] for name in names if name in value}


@function("omit(object: object|null, keys: array[string]) -> object|null")
def omit(value: dict[str, Any] | None, names: list[str]) -> dict[str, Any] | None:
    """The object without the named keys; null for null. `strip_keys` does it at any depth.

    Examples:
        omit(`{"a": 1, "b": 2}`, `["b", "x"]`) => {"a": 1}
        omit(`null`, `["a"]`) => null
    """
    if value is None:
        return None
    left_out = frozenset(names)
    return {key: item for key, item in value.items() if key not in left_out}


@function("omit_nulls(object: object|null) -> object|null")
def omit_nulls(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """The object without the keys whose value is null; null for null.

    For an object that is copied, such as `options`: nulls in nested objects remain.

    Examples:
        omit_nulls(`{"a": null, "b": false, "c": ""}`) => {"b": false, "c": ""}
        omit_nulls(`{"a": {"b": null}}`) => {"a": {"b": null}}
        omit_nulls(`null`) => null
    """
    return None if value is None else {key: item for key, item in value.items() if item is not None}


@function("rename(object: object|null, names: object) -> object|null")
def rename(value: dict[str, Any] | None, names: dict[str, Any]) -> dict[str, Any] | None:
    """The object with keys renamed by a table of `old: new`, in its order; null for null.

    If two keys get the same name, the later value wins.

    Examples:
        rename(`{"n": 1, "seed": 2}`, `{"n": "count"}`) => {"count": 1, "seed": 2}
        rename(`{"a": 1}`, `{"a": 5}`) => !
        rename(`null`, `{"a": "b"}`) => null
    """
    for new in names.values():
        if type(new) is not str:
            raise EvaluationError(f"rename() takes strings as new names, not {type_name(new)}")
    return None if value is None else {names.get(key, key): item for key, item in value.items()}


@function("index_by(list: array|null, key: expression) -> object")
def index_by(elements: list[Any] | None, key: Callable[[Any], Any]) -> dict[str, Any]:
    """The items of a list as an object, by key; for duplicate keys the last item wins.

    Keys are converted as in `lookup`, so the result is a table for it. Items without a key are omitted, and
    null gives an empty object.

    Examples:
        index_by(`[{"id": "a", "n": 1}, {"id": "b", "n": 2}]`, &id).b.n => 2
        index_by(`[{"id": 7}, {"id": null}]`, &id) => {"7": {"id": 7}}
        index_by(`null`, &id) => {}
    """
    table: dict[str, Any] = {}
    for element in elements or ():
        text = key_text("index_by", key(element))
        if text is not None:
            table[text] = element
    return table


@function("strip_keys(value: any, keys: array[string]) -> any", cost=Cost(measured=(0,)))
def strip_keys(value: Any, names: list[str]) -> Any:
    """The value without the named keys, at any depth, in objects and in lists.

    Keys are matched only by name: in a JSON Schema, a property with the name of a keyword is removed too.

    Examples:
        strip_keys(`{"a": 1, "x": 2, "b": [{"x": 3, "c": 4}]}`, `["x"]`) => {"a": 1, "b": [{"c": 4}]}
        strip_keys('text', `["x"]`) => "text"
    """
    left_out = frozenset(names)
    result: list[Any] = [value]
    pending: list[Any] = [result]
    while pending:
        container = pending.pop()
        for step in list(container) if isinstance(container, dict) else range(len(container)):
            copy = _stripped(container[step], left_out)
            if copy is not None:
                container[step] = copy
                pending.append(copy)
    return result[0]


def _stripped(value: Any, left_out: frozenset[str]) -> Any:
    """A copy of an object or list, one level deep, without the keys; None for a scalar."""
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if key not in left_out}
    return list(value) if isinstance(value, list) else None
