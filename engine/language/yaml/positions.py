"""Offsets in a file → lines and columns.

Contract: lines end only at line feeds, as in `SourceFile`, unlike in YAML 1.1.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from engine.locations import SourceFile, Span


class Positions:
    """The locations of one file's characters."""

    __slots__ = ("_file", "_lines")

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._lines = [0, *(match.end() for match in re.finditer("\n", file.text))]

    def point(self, index: int) -> Span:
        """The location of one character."""
        line = bisect_right(self._lines, index)
        return Span(self._file, line, index - self._lines[line - 1] + 1, 1)

    def between(self, start: int, end: int) -> Span:
        """The location from `start` to `end` if they are on one line, else of the first character."""
        point, length = self.point(start), end - start
        following = self._lines[point.line] if point.line < len(self._lines) else len(self._file.text) + 1
        fits = 0 < length < following - start
        return Span(self._file, point.line, point.column, length if fits else 1)
