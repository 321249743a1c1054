"""Scalars: their values by JSON's rules, and the offset of each of their characters in the file.

Contract: `resolve` reads a plain scalar by YAML 1.2's JSON schema, so that values unknown in JSON
(`on`, `0777`, `2026-01-01`) are text. `align` finds the offsets without parsing the scalar a second time.
Must not know PyYAML.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

#: The prefix of YAML's own tags.
CORE: Final = "tag:yaml.org,2002:"

#: The tags that require a value of a certain type, and the types that `resolve` must return.
TAGGED: Final[dict[str, Any]] = {
    CORE + "int": int,
    CORE + "float": (int, float),
    CORE + "bool": bool,
    CORE + "null": type(None),
}

_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\Z")

#: The character that is escaped in quotes of a style.
_DOUBLED: Final[dict[str | None, str]] = {"'": "'", '"': "\\"}

#: An anchor or a tag, and what may separate it from its value.
_PROPERTIES = re.compile(r"(?:[&!]\S*(?:\s+#.*)*\s+)*")
#: An escaped line end in double quotes, which is not part of the value.
_CONTINUATION = re.compile(r"\\\r?\n[ \t]*")


def resolve(text: str) -> Any:
    """The value of a plain scalar by JSON's rules (YAML 1.2.2, section 10.2); `~` and empty text are null."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text) if len(text) < 20 else float(text)
    if _FLOAT.match(text):
        value = float(text)
        return value if abs(value) != float("inf") else text
    return text


def after_properties(source: str, start: int, end: int) -> int:
    """The offset of a scalar itself, after its anchor and its tag."""
    if source[start : start + 1] not in ("&", "!"):
        return start
    match = _PROPERTIES.match(source, start, end)
    return match.end() if match else start


def align(source: str, start: int, value: str, style: str | None) -> Sequence[int]:
    """The offset in `source` of each character of a scalar's `value`, and the end of the last one."""
    if style in ("|", ">"):
        return _align_escaped(source, source.find("\n", start) + 1, value, style)
    position = start + (1 if style in _DOUBLED else 0)
    if source.startswith(value, position) and _DOUBLED.get(style, "\n") not in value:
        return range(position, position + len(value) + 1)  # without escapes and folding, like most scalars
    return _align_escaped(source, position, value, style)


def _align_escaped(source: str, position: int, value: str, style: str | None) -> tuple[int, ...]:
    """Compare value and source: equal characters match; white space in the value matches a run of white
    space in the file (line folding); a backslash in double quotes is an escape."""
    offsets = []
    for character in value:
        position = _seek(source, position, character, style)
        offsets.append(min(position, len(source)))
        position += _width(source, position, style)
    offsets.append(min(position, len(source)))
    return tuple(offsets)


def _seek(source: str, position: int, character: str, style: str | None) -> int:
    """The next offset at or after `position` that can be `character`."""
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
    """The number of characters in the file of the character at `position`."""
    if style == '"' and source[position : position + 1] == "\\":
        return {"x": 4, "u": 6, "U": 10}.get(source[position + 1 : position + 2], 2)
    if style == "'" and source[position : position + 2] == "''":
        return 2
    return 1
