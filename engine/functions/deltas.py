"""Folding the fragments of a stream into the whole that they are parts of.

Contract: the rule is told by the docstring of `merge_deltas` and knows no API; it follows what clients of
OpenAI's chat streams do with `choices[0].delta`, where a tool call comes in pieces that carry its `index`.
This module must not know events or framings.
"""

from __future__ import annotations

from typing import Any

from engine.functions.bounds import check_length, too_deep
from engine.functions.registry import Cost, function

#: Keys whose strings name a thing, so that a later one stands in the place of an earlier one.
NAMING_KEYS = frozenset({"id", "type", "role", "name", "index", "object", "model", "status"})
NAMING_ENDINGS = ("_id", "_type", "_reason")


@function(
    "merge_deltas(object: object|null, deltas: object|array[object]|null) -> object",
    cost=Cost(measured=(0, 1)),
)
def merge_deltas(
    value: dict[str, Any] | None, deltas: dict[str, Any] | list[dict[str, Any]] | None
) -> dict[str, Any]:
    """The object with one delta, or a list of deltas, folded into it.

    Strings join, objects merge, and lists grow: an item that is an object with a number as `index` merges
    with the item of that index, an item without one is appended, and where all have one they stand in its
    order. Numbers and booleans replace, and so does a value of another type. Null never overwrites.

    Strings that name something replace instead of joining, unless the later one is empty: those under `id`,
    `type`, `role`, `name`, `index`, `object`, `model`, `status`, and under keys that end in `_id`, `_type` or
    `_reason`.

    Examples:
        merge_deltas(`{"role": "assistant", "content": "Hel"}`, `{"content": "lo"}`).content => "Hello"
        merge_deltas(`null`, `[{"text": "a"}, {"text": null}, {"text": "b"}]`) => {"text": "ab"}
        merge_deltas(`{"c": [{"index": 0, "a": "{"}]}`, `{"c": [{"index": 0, "a": "}"}]}`).c[0].a => "{}"
        merge_deltas(`{"id": "x", "n": 1}`, `{"id": "", "n": 2}`) => {"id": "x", "n": 2}
    """
    try:
        merged: dict[str, Any] = value or {}
        for delta in [deltas] if isinstance(deltas, dict) else deltas or ():
            merged = _merge_objects(merged, delta)
        return merged
    except RecursionError:
        raise too_deep("merge_deltas") from None


def _merge_objects(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        merged[key] = _merge(key, merged.get(key), value)
    return merged


def _merge(key: str, old: Any, new: Any) -> Any:
    if new is None:
        return old
    if isinstance(new, str) and isinstance(old, str):
        return _merge_texts(key, old, new)
    if isinstance(new, dict):
        return _merge_objects(old if isinstance(old, dict) else {}, new)
    if isinstance(new, list):
        return _merge_lists(old if isinstance(old, list) else [], new)
    return new


def _merge_texts(key: str, old: str, new: str) -> str:
    if key in NAMING_KEYS or key.endswith(NAMING_ENDINGS):
        return new or old
    check_length("merge_deltas", len(old) + len(new))
    return old + new


def _merge_lists(old: list[Any], new: list[Any]) -> list[Any]:
    merged = list(old)
    places = {index: place for place, item in enumerate(merged) if (index := _index(item)) is not None}
    for item in new:
        index = _index(item)
        if index in places:
            merged[places[index]] = _merge_objects(merged[places[index]], item)
            continue
        if index is not None:
            places[index] = len(merged)
        merged.append(_merge("", None, item))
    return sorted(merged, key=_index) if len(places) == len(merged) else merged


def _index(item: Any) -> Any:
    """The number that an item of a list of fragments has as its `index`, or None."""
    index = item.get("index") if isinstance(item, dict) else None
    return index if type(index) in (int, float) else None
