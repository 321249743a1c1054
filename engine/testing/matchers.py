"""Matchers: expectations of properties of a value, if its exact value is unknown.

Contract: as `expectations`. Must not know how a matcher is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.language.functions.regexes import Pattern
from engine.testing.expectations import Expectation, Mismatch, View, below, shown
from engine.values import ABSENT

#: The type names of `$any`: their descriptions, and the Python types.
TYPES: Final[Mapping[str, tuple[str, tuple[type, ...]]]] = {
    "string": ("a string", (str,)),
    "integer": ("an integer", (int,)),
    "number": ("a number", (int, float)),
    "boolean": ("a boolean", (bool,)),
    "object": ("an object", (dict,)),
    "array": ("an array", (list,)),
    "null": ("null", (type(None),)),
    "any": ("any value", (str, int, float, bool, dict, list, type(None))),
}


@dataclass(frozen=True, slots=True)
class OfType(Expectation):
    """`$any`: a value of a type."""

    name: str

    @property
    def wanted(self) -> str:
        return TYPES[self.name][0]

    def differences(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        if type(actual) not in TYPES[self.name][1]:
            yield self.differs(path, actual)


@dataclass(frozen=True, slots=True)
class Matches(Expectation):
    """`$matches`: text that contains a match of a regular expression."""

    pattern: Pattern

    @property
    def wanted(self) -> str:
        return f"text that matches {shown(self.node.value)}"

    def differences(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        if type(actual) is not str or self.pattern.search(actual) is None:
            yield self.differs(path, actual)


@dataclass(frozen=True, slots=True)
class Contains(Expectation):
    """`$contains`: text that contains a text, or a list that contains a matching item."""

    item: Expectation

    @property
    def wanted(self) -> str:
        return f"text or a list that contains {self.item.wanted}"

    def differences(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        if type(actual) is list:
            found = any(self.item.is_match(item, view) for item in actual)
        else:
            part = self.item.text(view)
            found = type(actual) is str and part is not None and part in actual
        if not found:
            yield self.differs(path, actual)


@dataclass(frozen=True, slots=True)
class Length(Expectation):
    """`$length`: text, a list or an object with this number of characters, items or keys."""

    length: Expectation

    @property
    def wanted(self) -> str:
        return f"a length of {self.length.wanted}"

    def differences(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        if not isinstance(actual, str | list | dict):
            yield self.differs(path, actual)
        elif not self.length.is_match(len(actual), view):
            yield self.mismatch(path, f"expected {self.wanted}, got {len(actual)}")


@dataclass(frozen=True, slots=True)
class Optional(Expectation):
    """`$optional`: a key that may be absent; if it is present, its value is compared."""

    value: Expectation

    def compare(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        if actual is not ABSENT:
            yield from self.value.compare(path, actual, view)

    def differences(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        return self.compare(path, actual, view)


@dataclass(frozen=True, slots=True)
class Unordered(Expectation):
    """`$unordered`: a list with these items in any order."""

    items: Sequence[Expectation]

    def differences(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        if type(actual) is not list:
            yield self.mismatch(path, f"expected a list, got {shown(actual)}")
            return
        matches = [[i for i, value in enumerate(actual) if item.is_match(value, view)] for item in self.items]
        owners = _maximum_matching(matches)
        for number, item in enumerate(self.items):
            if number not in owners.values():
                yield item.mismatch(path, f"expected an item {item.wanted}, but it is missing")
        for index, value in enumerate(actual):
            if index not in owners:
                yield self.mismatch(below(path, index), f"not expected here, got {shown(value)}")


def _maximum_matching(matches: Sequence[Sequence[int]]) -> dict[int, int]:
    """A maximum matching of actual values and expected items: the number of the item by index of the value.

    `matches` has the indexes of the matching values of each expected item. Finds augmenting paths by
    breadth-first search.
    """
    owners: dict[int, int] = {}
    for number in range(len(matches)):
        previous: dict[int, int | None] = {}
        waiting: list[tuple[int, int | None]] = [(number, None)]
        for item, through in waiting:
            for index in matches[item]:
                if index in previous:
                    continue
                previous[index] = through
                if index not in owners:
                    _reassign(owners, previous, index, number)
                    waiting.clear()
                    break
                waiting.append((owners[index], index))
    return owners


def _reassign(owners: dict[int, int], previous: Mapping[int, int | None], free: int, newcomer: int) -> None:
    """Assign the free value to the last item of a path, its former value to the item before it, and so on."""
    index: int | None = free
    while index is not None:
        before = previous[index]
        owners[index] = newcomer if before is None else owners[before]
        index = before
