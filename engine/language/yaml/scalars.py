"""Scalars: their values by JSON's rules, and where each of their characters was written.

Contract: `resolve` reads a plain scalar as YAML 1.2's JSON schema does, so that what JSON does not know
(`on`, `0777`, `2026-01-01`) is text. `align` finds the places without parsing the scalar a second time.
Must not know PyYAML.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

#: What YAML's own tags begin with.
CORE: Final = "tag:yaml.org,2002:"

#: The tags that ask for a value of a certain type, and what `resolve` gives then.
TAGGED: Final[dict[str, Any]] = {
    CORE + "int": int,
    CORE + "float": (int, float),
    CORE + "bool": bool,
    CORE + "null": type(None),
}

_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\Z")

#: The character that is written in two in quotes of a style.
_DOUBLED: Final[dict[str | None, str]] = {"'": "'", '"': "\\"}

#: An anchor or a tag, and what may stand between it and its value.
_PROPERTIES = re.compile(r"(?:[&!]\S*(?:\s+#.*)*\s+)*")
#: A line end in double quotes that stands for nothing.
_CONTINUATION = re.compile(r"\\\r?\n[ \t]*")


def resolve(text: str) -> Any:
    """A plain scalar's value by JSON's rules (YAML 1.2.2, section 10.2), with `~` and nothing for null."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text) if len(text) < 20 else float(text)
    if _FLOAT.match(text):
        value = float(text)
        return value if abs(value) != float("inf") else text
    return text


def after_properties(source: str, start: int, end: int) -> int:
    """Where a scalar itself begins: behind its anchor and its tag."""
    if source[start : start + 1] not in ("&", "!"):
        return start
    match = _PROPERTIES.match(source, start, end)
    return match.end() if match else start


def align(source: str, start: int, value: str, style: str | None) -> Sequence[int]:
    """Where in `source` each character of a scalar's `value` stands, and where its last one ends."""
    if style in ("|", ">"):
        return _walk(source, source.find("\n", start) + 1, value, style)
    position = start + (1 if style in _DOUBLED else 0)
    if source.startswith(value, position) and _DOUBLED.get(style, "\n") not in value:
        return range(position, position + len(value) + 1)  # written as it is meant, as most are
    return _walk(source, position, value, style)


def _walk(source: str, position: int, value: str, style: str | None) -> tuple[int, ...]:
    """Walks both at once: a character that matches is itself; white space in the value stands for a run
    of white space in the file (line folding); a backslash in double quotes is an escape."""
    offsets = []
    for character in value:
        position = _seek(source, position, character, style)
        offsets.append(min(position, len(source)))
        position += _width(source, position, style)
    offsets.append(min(position, len(source)))
    return tuple(offsets)


def _seek(source: str, position: int, character: str, style: str | None) -> int:
    """The next place at or after `position` that can stand for `character`."""
    if style == '"':
        while continuation := _CONTINUATION.match(source, position):
            position = continuation.end()
    if character in " \n" and style not in ("|", ">"):
        return position
    limit = len(source)
    while position < limit and source[position] != character and source[position].isspace():
        position += 1
    return position


def _width(source: str, position: int, style: str | None) -> int:
    """How many characters of the file the character at `position` was written with."""
    if style == '"' and source[position : position + 1] == "\\":
        return {"x": 4, "u": 6, "U": 10}.get(source[position + 1 : position + 2], 2)
    if style == "'" and source[position : position + 2] == "''":
        return 2
    return 1
