"""Objects that a stream sends in fragments, several of them mixed.

Contract: linear in the fragments and in the length of their strings; arguments are never changed.
This module must not know events or framings, nor which API sends such fragments.
"""

from __future__ import annotations

from typing import Any, Final

from engine.language.functions.bounds import check_length, too_deep
from engine.language.functions.deltas import NAMING_ENDINGS, NAMING_KEYS
from engine.language.functions.registry import function

_NAME: Final = "join_fragments"


class _Text(list[str]):
    """The pieces of one string, so that each piece is copied once."""


@function("join_fragments(fragments: array[object]|null) -> array")
def join_fragments(fragments: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """The objects that were sent in fragments, ordered by their `index`, or else by their first fragment.

    A fragment continues the last object with the same `index` or, without a number as `index`, the last
    object of all. It begins a new object when there is none to continue. A fragment with a `name`, at its top
    level or in an object in it, also begins a new object when its `id` differs from the object's `id` and,
    without an `index`, when one of the two has no `id`.

    Strings join, objects merge, and lists grow. Of strings that name something (see `merge_deltas`) the first
    non-empty one remains. Numbers, booleans and values of another type replace. Null never replaces.

    Examples:
        join_fragments(`[{"index": 0, "text": "{"}, {"index": 0, "text": "}"}]`)[0].text => "{}"
        join_fragments(`[{"id": "a", "name": "f"}, {"id": "b", "name": "f"}]`)[*].id => ["a", "b"]
        join_fragments(`[{"name": "f"}, {"text": "x"}, {"name": "g"}]`)[*].name => ["f", "g"]
        join_fragments(`null`) => []
    """
    objects: list[dict[str, Any]] = []
    open_objects: dict[float, dict[str, Any]] = {}
    try:
        for fragment in fragments or ():
            index = _index(fragment)
            current = (objects[-1] if objects else None) if index is None else open_objects.get(index)
            if current is None or _begins(fragment, current, index):
                current = {}
                objects.append(current)
            if index is not None:
                open_objects[index] = current
            _merge_into(current, fragment)
        finished = [_finished_object(each) for each in objects]
    except RecursionError:
        raise too_deep(_NAME) from None
    return sorted(finished, key=_index) if all(_index(each) is not None for each in finished) else finished


# --- Which object a fragment belongs to ------------------------------------------------------------------


def _index(fragment: dict[str, Any]) -> Any:
    """The number that a fragment has as its `index`, or None."""
    index = fragment.get("index")
    return index if type(index) in (int, float) else None


def _begins(fragment: dict[str, Any], current: dict[str, Any], index: float | None) -> bool:
    """Whether a fragment begins another object although there is one that it could continue."""
    if not _has_name(fragment):
        return False
    identity, known = fragment.get("id"), current.get("id")
    if not identity or not known:
        return index is None
    return bool(identity != known)


def _has_name(fragment: dict[str, Any]) -> bool:
    return bool(fragment.get("name")) or any(
        type(value) is dict and value.get("name") for value in fragment.values()
    )


# --- Merging: strings are lists of pieces until the end ---------------------------------------------------


def _merge_into(old: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if value is None:
            old.setdefault(key, None)
        elif type(value) is str:
            _merge_text(old, key, value)
        elif type(value) is dict:
            if type(old.get(key)) is not dict:
                old[key] = {}
            _merge_into(old[key], value)
        elif type(value) is list:
            if type(old.get(key)) is not list:
                old[key] = []
            old[key] += value
        else:
            old[key] = value


def _merge_text(old: dict[str, Any], key: str, piece: str) -> None:
    before = old.get(key)
    if key in NAMING_KEYS or key.endswith(NAMING_ENDINGS):
        old[key] = before if type(before) is str and before else piece
    elif type(before) is _Text:
        before.append(piece)
    else:
        old[key] = _Text((piece,))


def _finished_object(value: dict[str, Any]) -> dict[str, Any]:
    return {key: _finished(item) for key, item in value.items()}


def _finished(value: Any) -> Any:
    if type(value) is _Text:
        check_length(_NAME, sum(map(len, value)))
        return "".join(value)
    return _finished_object(value) if type(value) is dict else value
