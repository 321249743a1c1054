"""Partial responses → the complete response that they are parts of.

Contract: objects merge field by field, null never replaces a value, and everything else is merged by the rule
for its path, by default the last value counts. Parts are never changed. The time is linear in the parts
together, however many these are.
Must not know events, templates or any API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from engine.errors import EvaluationError
from engine.language.functions.bounds import check_length, too_deep

LAST: Final = "last"
JOIN: Final = "join"
APPEND: Final = "append"
BY: Final = "by"
FINAL: Final = "final"

#: How the values of a path are merged, as mappings write it; `by` has the key of the items in addition.
MODES: Final = (LAST, JOIN, APPEND, BY, FINAL)


@dataclass(frozen=True, slots=True)
class MergeRule:
    """How the values of one path merge.

    Attributes:
        mode: `last` (the last value), `join` (texts are joined), `append` (lists are concatenated), `by`
            (items of lists with the same value under `key` are merged) or `final` (only one part has it).
        key: the key of `by`.
        fields: the rules for the fields of an object, or of the items of a list.
    """

    mode: str = LAST
    key: str = ""
    fields: Mapping[str, MergeRule] = field(default_factory=dict)


DEFAULT_RULE: Final = MergeRule()


class PartMerger:
    """Collects partial responses; `merged` is the complete response."""

    __slots__ = ("_rule", "_value")

    def __init__(self, rule: MergeRule = DEFAULT_RULE) -> None:
        self._rule = rule
        self._value: Any = None

    def add(self, part: Any) -> None:
        """Merge one part.

        Raises:
            EvaluationError: it is nested too deeply, or a text becomes too long.
        """
        try:
            self._value = _merged(self._value, part, self._rule)
        except RecursionError:
            raise too_deep("merge") from None

    def merged(self) -> Any:
        """The complete response; null without parts."""
        try:
            return _settled(self._value)
        except RecursionError:
            raise too_deep("merge") from None


def merge_parts(parts: Iterable[Any], rule: MergeRule) -> Any:
    """The complete response of partial ones."""
    merger = PartMerger(rule)
    for part in parts:
        merger.add(part)
    return merger.merged()


# --- Values that grow ------------------------------------------------------------------------------------


class _Object:
    """An object that parts are merged into."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def add(self, part: dict[str, Any], fields: Mapping[str, MergeRule]) -> None:
        values = self.values
        for key, value in part.items():
            values[key] = _merged(values.get(key), value, fields.get(key, DEFAULT_RULE))

    def settled(self) -> dict[str, Any]:
        return {key: _settled(value) for key, value in self.values.items()}


class _Text:
    """A text that is joined from pieces."""

    __slots__ = ("length", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.length = 0

    def add(self, piece: str) -> None:
        self.length += len(piece)
        check_length("merge", self.length)
        self.pieces.append(piece)

    def settled(self) -> str:
        return "".join(self.pieces)


class _List:
    """A list that grows; with a key, items that have the same value under it are merged."""

    __slots__ = ("_by_key", "items")

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._by_key: dict[Any, _Object] = {}

    def extend(self, items: list[Any], rule: MergeRule) -> None:
        for item in items:
            key = _key_of(item, rule)
            if key is None:
                self.items.append(item)
                continue
            found = self._by_key.get(key)
            if found is None:
                found = self._by_key[key] = _Object()
                self.items.append(found)
            found.add(item, rule.fields)

    def settled(self) -> list[Any]:
        return [_settled(item) for item in self.items]


_Growing: TypeAlias = _Object | _Text | _List


def _key_of(item: Any, rule: MergeRule) -> tuple[type, Any] | None:
    """What identifies an item of a list; None if nothing does. 1 and true differ, 1 and 1.0 do not."""
    value = item.get(rule.key) if rule.mode == BY and type(item) is dict else None
    if type(value) is str or type(value) is bool:
        return type(value), value
    return (float, value) if type(value) in (int, float) else None


def _merged(old: Any, new: Any, rule: MergeRule) -> Any:
    """The value of a path after one more part: a JSON value, or one that grows."""
    if new is None:
        return old
    kind = type(new)
    if kind is dict and rule.mode != FINAL:
        merged = old if type(old) is _Object else _Object()
        merged.add(new, rule.fields)
        return merged
    merge = _MERGES.get((rule.mode, kind))
    return new if merge is None else merge(old, new, rule)


def _joined(old: Any, new: str, rule: MergeRule) -> _Text:
    text = old if type(old) is _Text else _Text()
    text.add(new)
    return text


def _extended(old: Any, new: list[Any], rule: MergeRule) -> _List:
    items = old if type(old) is _List else _List()
    items.extend(new, rule)
    return items


def _only(old: Any, new: Any, rule: MergeRule) -> Any:
    if old is not None and old != new:
        raise EvaluationError("a value that is marked 'final' was sent in two parts")
    return new


_MERGES: Final[Mapping[tuple[str, type], Callable[[Any, Any, MergeRule], Any]]] = {
    (JOIN, str): _joined,
    (APPEND, list): _extended,
    (BY, list): _extended,
    **{(FINAL, kind): _only for kind in (str, list, dict, int, float, bool)},
}


def _settled(value: Any) -> Any:
    """A value without parts that grow."""
    return value.settled() if isinstance(value, _Growing) else value
