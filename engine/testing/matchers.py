"""Matchers: expectations of what a value is like, where the value itself is not known.

Contract: as `expectations`. Must not know how a matcher is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.language.functions.regexes import Pattern
from engine.testing.expectations import Expectation, Mismatch, View, below, shown
from engine.values import ABSENT

#: What `$any` can name: the words for it, and the types of Python.
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

    def differences(self, path: str, actual: Any, sight: View) -> Iterator[Mismatch]:
        if type(actual) not in TYPES[self.name][1]:
            yield self.differs(path, actual)


@dataclass(frozen=True, slots=True)
class Matches(Expectation):
    """`$matches`: text in which a pattern is found."""

    pattern: Pattern

    @property
    def wanted(self) -> str:
        return f"text that matches {shown(self.node.value)}"

    def differences(self, path: str, actual: Any, sight: View) -> Iterator[Mismatch]:
        if type(actual) is not str or self.pattern.search(actual) is None:
            yield self.differs(path, actual)


@dataclass(frozen=True, slots=True)
class Contains(Expectation):
    """`$contains`: text with a text in it, or a list with an item that fits."""

    item: Expectation

    @property
    def wanted(self) -> str:
        return f"text or a list that contains {self.item.wanted}"

    def differences(self, path: str, actual: Any, sight: View) -> Iterator[Mismatch]:
        if type(actual) is list:
            found = any(self.item.fits(item, sight) for item in actual)
        else:
            part = self.item.text(sight)
            found = type(actual) is str and part is not None and part in actual
        if not found:
            yield self.differs(path, actual)


@dataclass(frozen=True, slots=True)
class Length(Expectation):
    """`$length`: text, a list or an object of so many characters, items or keys."""

    length: Expectation

    @property
    def wanted(self) -> str:
        return f"a length of {self.length.wanted}"

    def differences(self, path: str, actual: Any, sight: View) -> Iterator[Mismatch]:
        if not isinstance(actual, str | list | dict):
            yield self.differs(path, actual)
        elif not self.length.fits(len(actual), sight):
            yield self.mismatch(path, f"expected {self.wanted}, got {len(actual)}")


@dataclass(frozen=True, slots=True)
class Optional(Expectation):
    """`$optional`: a key that may be absent; where it came, its value is compared."""

    value: Expectation

    def compare(self, path: str, actual: Any, sight: View) -> Iterator[Mismatch]:
        if actual is not ABSENT:
            yield from self.value.compare(path, actual, sight)

    def differences(self, path: str, actual: Any, sight: View) -> Iterator[Mismatch]:
        return self.compare(path, actual, sight)


@dataclass(frozen=True, slots=True)
class Unordered(Expectation):
    """`$unordered`: a list with these items in any order."""

    items: Sequence[Expectation]

    def differences(self, path: str, actual: Any, sight: View) -> Iterator[Mismatch]:
        if type(actual) is not list:
            yield self.mismatch(path, f"expected a list, got {shown(actual)}")
            return
        fitting = [[i for i, came in enumerate(actual) if item.fits(came, sight)] for item in self.items]
        owners = _paired(fitting)
        for number, item in enumerate(self.items):
            if number not in owners.values():
                yield item.mismatch(path, f"expected an item {item.wanted} somewhere, but it is missing")
        for index, came in enumerate(actual):
            if index not in owners:
                yield self.mismatch(below(path, index), f"not expected here, got {shown(came)}")


def _paired(fitting: Sequence[Sequence[int]]) -> dict[int, int]:
    """As many pairs of what came with an expected item as can be: the number of the item by what came.

    `fitting` has for each expected item what fits it. Each item in turn looks for a free one, along chains of
    items that could take another (augmenting paths, in breadth).
    """
    owners: dict[int, int] = {}
    for number in range(len(fitting)):
        previous: dict[int, int | None] = {}
        waiting: list[tuple[int, int | None]] = [(number, None)]
        for item, through in waiting:
            for came in fitting[item]:
                if came in previous:
                    continue
                previous[came] = through
                if came not in owners:
                    _hand_on(owners, previous, came, number)
                    waiting.clear()
                    break
                waiting.append((owners[came], came))
    return owners


def _hand_on(owners: dict[int, int], previous: Mapping[int, int | None], free: int, newcomer: int) -> None:
    """Give the free one to the last item of a chain, its former one to the item before, and so on."""
    came: int | None = free
    while came is not None:
        before = previous[came]
        owners[came] = newcomer if before is None else owners[before]
        came = before
