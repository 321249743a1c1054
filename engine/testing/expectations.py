"""Expectations of values, and the differences of actual values.

Contract: an expectation compares a JSON value, or `ABSENT` if there is none, and yields every mismatch with
the path of the value and the location of the expectation. Objects must be equal, unless they are open.
Must not know HTTP, nor how expectations are written.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange import evaluate
from engine.exchange.exchange import Exchange
from engine.language.codegen import Compiled
from engine.locations import Node, Span
from engine.values import ABSENT, equal, text

_MAX_SHOWN: Final = 160
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference: the path of the actual value, a message, and the location of the expectation."""

    path: str
    message: str
    span: Span

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class View:
    """The data of expressions in expectations: the actual body as payload, and the client's exchange."""

    payload: Any
    exchange: Exchange


def shown(value: Any) -> str:
    """A value as JSON, truncated."""
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    written = written.encode("utf-8", "backslashreplace").decode()
    return written if len(written) <= _MAX_SHOWN else written[: _MAX_SHOWN - 1] + "…"


def below(path: str, step: str | int) -> str:
    """The path of a nested value: `data[0].id`, `headers.retry-after`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    if _PLAIN_KEY.match(step):
        return f"{path}.{step}" if path else step
    return f"{path}[{shown(step)}]"


@dataclass(frozen=True, slots=True)
class Expectation(ABC):
    """The expectation of one value; `node` is its location in the suite file."""

    node: Node

    @property
    def wanted(self) -> str:
        """A short description of the expected value."""
        return shown(self.node.value)

    def compare(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        """The differences of `actual`, which is `ABSENT` if there is no value."""
        if actual is ABSENT:
            yield self.mismatch(path, f"expected {self.wanted}, but it is missing")
        else:
            yield from self.differences(path, actual, view)

    @abstractmethod
    def differences(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        """The differences of a value that is present."""

    def is_match(self, actual: Any, view: View) -> bool:
        return not any(True for _ in self.compare("", actual, view))

    def text(self, view: View) -> str | None:
        """The expected text, or None if the expectation is not one text."""
        return None

    def mismatch(self, path: str, message: str) -> Mismatch:
        return Mismatch(path, message, self.node.span)

    def differs(self, path: str, actual: Any) -> Mismatch:
        return self.mismatch(path, f"expected {self.wanted}, got {shown(actual)}")


@dataclass(frozen=True, slots=True)
class Scalar(Expectation):
    """A string, a number, true, false or null."""

    value: Any

    @property
    def wanted(self) -> str:
        return shown(self.value)

    def differences(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        if not equal(self.value, actual):
            yield self.differs(path, actual)

    def text(self, view: View) -> str | None:
        return self.value if isinstance(self.value, str) else None


@dataclass(frozen=True, slots=True)
class Items(Expectation):
    """A list, item by item."""

    items: Sequence[Expectation]

    def differences(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        if type(actual) is not list:
            yield self.mismatch(path, f"expected a list, got {shown(actual)}")
            return
        for index, item in enumerate(self.items):
            value = actual[index] if index < len(actual) else ABSENT
            yield from item.compare(below(path, index), value, view)
        for index in range(len(self.items), len(actual)):
            yield self.mismatch(below(path, index), f"not expected here, got {shown(actual[index])}")


@dataclass(frozen=True, slots=True)
class Fields(Expectation):
    """An object, key by key; an open one may have other keys too."""

    fields: Mapping[str, Expectation]
    is_open: bool = False

    def differences(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        if type(actual) is not dict:
            yield self.mismatch(path, f"expected an object, got {shown(actual)}")
            return
        for key, expected in self.fields.items():
            yield from expected.compare(below(path, key), actual.get(key, ABSENT), view)
        for key, value in actual.items():
            if key not in self.fields and not self.is_open:
                yield self.mismatch(below(path, key), f"not expected here, got {shown(value)}")


@dataclass(frozen=True, slots=True)
class Absent(Expectation):
    """Null for a header or a query parameter, which must be absent."""

    def compare(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        if actual is not ABSENT:
            yield self.mismatch(path, f"expected to be absent, got {shown(actual)}")

    def differences(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        return self.compare(path, actual, view)


def literal(node: Node, as_text: bool = False) -> Expectation:
    """The expectation of exactly a node's value. With `as_text`, as in headers and queries, numbers and
    booleans are strings, and null requires absence."""
    value = node.value
    if isinstance(value, dict):
        return Fields(node, {key: literal(child, as_text) for key, child in node.items()})
    if isinstance(value, list):
        return Items(node, [literal(child, as_text) for child in node.elements()])
    if as_text:
        return Absent(node) if value is None else Scalar(node, text(value))
    return Scalar(node, value)


@dataclass(frozen=True, slots=True)
class Computed(Expectation):
    """The result of an expression; null means null or absent."""

    template: Compiled
    as_text: bool

    def compare(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        try:
            value = self._value(view)
        except ExchangeError as error:
            yield self.mismatch(path, f"cannot evaluate this expectation: {error.cause or error.message}")
            return
        if value is not None:
            node = Node(self.node.document, self.node.path, value)
            yield from literal(node, self.as_text).compare(path, actual, view)
        elif actual is not ABSENT and actual is not None:
            yield self.mismatch(path, f"expected no value, got {shown(actual)}")

    def _value(self, view: View) -> Any:
        value = evaluate(self.template, view.payload, view.exchange, "internal")
        return None if value is ABSENT else value

    def differences(self, path: str, actual: Any, view: View) -> Iterator[Mismatch]:
        return self.compare(path, actual, view)

    def text(self, view: View) -> str | None:
        try:
            value = self._value(view)
        except ExchangeError:
            return None
        return value if isinstance(value, str) else None
