"""Merging the fragments of a stream into a complete object.

Contract: the docstring of `merge_deltas` defines the rule, which knows no API; it follows what clients of
OpenAI's chat streams do with `choices[0].delta`, where a tool call arrives in pieces that have its `index`.
The time is linear in the object and the deltas together, however many these are.
This module must not know events or framings.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.language.functions.bounds import check_length, too_deep
from engine.language.functions.registry import Cost, function

#: Keys whose strings name a thing, so that a later string replaces an earlier one.
NAMING_KEYS = frozenset({"id", "type", "role", "name", "index", "object", "model", "status"})
NAMING_ENDINGS = ("_id", "_type", "_reason")


@function(
    "merge_deltas(object: object|null, deltas: object|array[object]|null) -> object",
    cost=Cost(measured=(0, 1)),
)
def merge_deltas(
    value: dict[str, Any] | None, deltas: dict[str, Any] | list[dict[str, Any]] | None
) -> dict[str, Any]:
    """The object after merging one delta, or a list of deltas, into it.

    Strings join, objects merge, and lists grow: an item that is an object with a number as `index` merges
    with the item of that index, an item without one is appended, and if all items have one they are sorted by
    it. Numbers and booleans replace, and so does a value of another type. Null never overwrites.

    Strings that name something replace instead of joining, unless the later one is empty: those under `id`,
    `type`, `role`, `name`, `index`, `object`, `model`, `status`, and under keys that end in `_id`, `_type` or
    `_reason`.

    Examples:
        merge_deltas(`{"role": "assistant", "content": "Hel"}`, `{"content": "lo"}`).content => "Hello"
        merge_deltas(`null`, `[{"text": "a"}, {"text": null}, {"text": "b"}]`) => {"text": "ab"}
        merge_deltas(`{"c": [{"index": 0, "a": "{"}]}`, `{"c": [{"index": 0, "a": "}"}]}`).c[0].a => "{}"
        merge_deltas(`{"id": "x", "n": 1}`, `{"id": "", "n": 2}`) => {"id": "x", "n": 2}
    """
    merger = Merger(value or {})
    for delta in [deltas] if isinstance(deltas, dict) else deltas or ():
        merger.fold(delta)
    return merger.settle()


class Merger:
    """An object that deltas are merged into in place; nothing else may refer to it until it is settled.

    Args:
        value: the initial object; it is copied, as far as deltas can change it.
    """

    __slots__ = ("_lists", "_texts", "_value")

    def __init__(self, value: dict[str, Any]) -> None:
        self._value: dict[str, Any] = _copied(value)
        # By the identity of the list, or of the object and the key. Each refers to its list or object, so
        # that no other object can get the same identity.
        self._lists: dict[int, _Items] = {}
        self._texts: dict[tuple[int, str], _Pieces] = {}

    def fold(self, delta: dict[str, Any]) -> None:
        """Merge one delta.

        Raises:
            EvaluationError: it is nested too deeply, or a string becomes too long.
        """
        try:
            self._merge(self._value, delta)
        except RecursionError:
            raise too_deep("merge_deltas") from None

    def settle(self) -> dict[str, Any]:
        """The merged object, which must not be changed any more."""
        for pieces in self._texts.values():
            pieces.owner[pieces.key] = "".join(pieces.texts)
        for items in self._lists.values():
            items.sort()
        self._texts.clear()
        self._lists.clear()
        return self._value

    def _merge(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        for key, value in new.items():
            current = old.get(key)
            if type(value) is str and type(current) is str:
                self._merge_texts(old, key, current, value)
            elif value is None:
                old.setdefault(key)
            else:
                old[key] = self._merged(current, value)
                if self._texts:
                    self._texts.pop((id(old), key), None)

    def _merged(self, old: Any, new: Any) -> Any:
        """The new value of a key or an item; not for two strings."""
        if type(new) is dict:
            merged = old if type(old) is dict else {}
            self._merge(merged, new)
            return merged
        if type(new) is list:
            items = old if type(old) is list else []
            self._extend(items, new)
            return items
        return new

    def _merge_texts(self, owner: dict[str, Any], key: str, old: str, new: str) -> None:
        if key in NAMING_KEYS or key.endswith(NAMING_ENDINGS):
            owner[key] = new or old
            return
        pieces = self._texts.get((id(owner), key))
        if pieces is None:
            pieces = self._texts[id(owner), key] = _Pieces(owner, key, old)
        pieces.add(new)

    def _extend(self, old: list[Any], new: Iterable[Any]) -> None:
        items = self._lists.get(id(old))
        if items is None:
            items = self._lists[id(old)] = _Items(old)
        items.begin()
        for item in new:
            index = _index(item)
            found = None if index is None else items.by_index.get(index)
            if found is not None:
                self._merge(found, item)
            else:
                items.append(index, self._merged(None, item))


class _Pieces:
    """A growing text: the pieces, which are joined at the end, and the object and key of the text."""

    __slots__ = ("key", "length", "owner", "texts")

    def __init__(self, owner: dict[str, Any], key: str, text: str) -> None:
        self.owner = owner
        self.key = key
        self.texts = [text]
        self.length = len(text)

    def add(self, text: str) -> None:
        self.length += len(text)
        check_length("merge_deltas", self.length)
        self.texts.append(text)


class _Items:
    """A growing list with its items by index. After each delta they are ordered by index, if all have one;
    the list is only sorted once that can be observed."""

    __slots__ = ("_before", "_is_ordered", "_items", "_last", "by_index")

    def __init__(self, items: list[Any]) -> None:
        self._items = items
        self.by_index = {index: item for item in items if (index := _index(item)) is not None}
        # Whether all have an index of their own and are ordered so far; None once one has no index.
        self._is_ordered: bool | None = not items if len(self.by_index) == len(items) else None
        self._last = float("-inf")
        self._before = 0

    def begin(self) -> None:
        """Start the items of one delta."""
        self._before = len(self._items)

    def append(self, index: Any, item: Any) -> None:
        if index is None:
            if self._is_ordered is False:
                self._items[: self._before] = sorted(self._items[: self._before], key=_index)
            self._is_ordered = None
        else:
            self.by_index[index] = item
            if self._is_ordered is not None:
                self._is_ordered = self._is_ordered and index >= self._last
                self._last = index
        self._items.append(item)

    def sort(self) -> None:
        if self._is_ordered is False:
            self._items.sort(key=_index)


def _copied(value: Any) -> Any:
    """A copy of an object and of the objects and lists in it."""
    try:
        if type(value) is dict:
            return {key: _copied(item) if type(item) in (dict, list) else item for key, item in value.items()}
        return [_copied(item) if type(item) in (dict, list) else item for item in value]
    except RecursionError:
        raise too_deep("merge_deltas") from None


def _index(item: Any) -> Any:
    """The number that an item of a list of fragments has as its `index`, or None."""
    index = item.get("index") if type(item) is dict else None
    return index if type(index) in (int, float) else None
