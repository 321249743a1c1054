"""Locations: file, line and column, and the text at that location.

Contract: lines and columns count from 1, columns in characters. A `Node` is a value with its location, so
that everything made from a mapping can refer to it.
This module must not know YAML, HTTP or printing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SourceFile:
    """A file's name, as specified by the user, and its text."""

    name: str
    text: str = field(repr=False)

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its line end; empty past the end."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""


@dataclass(frozen=True, slots=True)
class Span:
    """A range within one line of a file; `length` may be 0 for a point, and `line` 0 for the file as a whole,
    which may not exist."""

    file: SourceFile
    line: int
    column: int
    length: int = 0

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}:{self.column}" if self.line else self.file.name

    @classmethod
    def whole(cls, name: str) -> Span:
        """The file of this name as a whole."""
        return cls(SourceFile(name, ""), 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class ScalarText:
    """The offset of each character of a scalar's value in the file.

    `offsets[i]` is the index in `SourceFile.text` of the value's character `i`; the last entry is the end of
    the value. An empty value, which has no text in the file, has no `ScalarText`.
    """

    offsets: Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A file's data and the location of every key and value in it.

    `original` is the data as read, `data` is without the parts that do not match the schema.
    """

    file: SourceFile
    data: Any = field(repr=False)
    value_spans: dict[Path, Span] = field(default_factory=dict, repr=False)
    key_spans: dict[Path, Span] = field(default_factory=dict, repr=False)
    scalars: dict[Path, ScalarText] = field(default_factory=dict, repr=False)
    original: Any = field(default=None, repr=False)

    @property
    def root(self) -> Node:
        return Node(self, (), self.data)

    def span(self, path: Path) -> Span:
        """The location of the value at `path`, or of its nearest ancestor that has one."""
        while path not in self.value_spans:
            if not path:
                return Span(self.file, 1, 1)
            path = path[:-1]
        return self.value_spans[path]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value of a document with its location: a cursor into the document.

    `shift` is the offset of the value in a scalar's text, for a part of a scalar.
    """

    document: Document
    path: Path
    value: Any
    shift: int = 0

    @property
    def span(self) -> Span:
        return self.span_at(0, len(self.value)) if self.shift else self.document.span(self.path)

    @property
    def key_span(self) -> Span:
        """The location of this value's key; of the value itself in a list."""
        return self.document.key_spans.get(self.path, self.span)

    def span_at(self, offset: int, length: int = 1) -> Span:
        """The location of character `offset` of this scalar's value."""
        scalar = self.document.scalars.get(self.path)
        if scalar is None:
            return self.span
        index = scalar.offsets[min(offset + self.shift, len(scalar.offsets) - 1)]
        text = self.document.file.text
        start = text.rfind("\n", 0, index) + 1
        line = text.count("\n", 0, index) + 1
        return Span(self.document.file, line, index - start + 1, length)

    def part(self, start: int, value: str) -> Node:
        """A part of this scalar's text that begins at `start`, as a node."""
        return Node(self.document, self.path, value, self.shift + start)

    def __getitem__(self, key: str | int) -> Node:
        return Node(self.document, (*self.path, key), self.value[key])

    def get(self, key: str) -> Node | None:
        """The node under `key`, or None if this is not a mapping or has no such key."""
        return self[key] if isinstance(self.value, dict) and key in self.value else None

    def items(self) -> Iterator[tuple[str, Node]]:
        """The keys of a mapping with their nodes, in the file's order."""
        return ((key, self[key]) for key in self.value)

    def elements(self) -> Iterator[Node]:
        """The nodes of a list's items."""
        return (self[i] for i in range(len(self.value)))
