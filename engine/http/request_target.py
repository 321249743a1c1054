"""Request targets: paths as they are sent, and all ways in which servers may interpret a path or a parameter.

Contract: pure functions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, unquote, unquote_plus


def parameter_name(raw: str) -> str:
    """A parameter's name as interpreted by the most lenient server: decoded, in lower case, and without the
    surrounding white space and NUL that some servers strip."""
    return unquote_plus(raw).strip(" \t\r\n\0").casefold()


def literal_path(path: str) -> str:
    """A path for the request line: characters that are not allowed there are percent-encoded."""
    return quote(path, safe="/%:@!$&'()*+,;=~-._")


#: How often a path is decoded, at most, by a chain of servers.
_DECODINGS: Final = 2

_SLASH = re.compile(r"[/\\]")

_AMBIGUOUS = re.compile(r"[%\\;]|//|/\.|[^!-~]|./\Z")

_BLANK: Final = "".join(map(chr, range(33))) + "\x7f"


def is_ambiguous(path: str) -> bool:
    """Whether servers may interpret a path in several ways."""
    return _AMBIGUOUS.search(path) is not None


def readings(path: str) -> Iterator[list[str]]:
    """The segments of a path in each way in which servers may interpret them.

    Servers decode a path zero, one or two times, treat `\\` as a slash and look-alikes as ASCII (NFKC), drop
    everything from `;` (Java) or NUL (C), and strip white space and control characters around a segment.
    """
    for number in range(_DECODINGS + 1):
        if not path.isascii():
            path = unicodedata.normalize("NFKC", path)
        yield _segments(path)
        if "\0" in path:
            yield _segments(path.partition("\0")[0])
        decoded = unquote(path) if number < _DECODINGS and "%" in path else path
        if decoded == path:
            return
        path = decoded


def _segments(path: str) -> list[str]:
    return [_bare(segment) for segment in _SLASH.split(path)]


def _bare(segment: str) -> str:
    return segment.partition(";")[0].partition("\0")[0].strip(_BLANK)


def resolved(segments: Iterable[str]) -> list[str]:
    """Resolve `.` and `..` and remove empty segments (RFC 3986, 5.2.4)."""
    found: list[str] = []
    for segment in segments:
        if segment == "..":
            del found[-1:]
        elif segment not in ("", "."):
            found.append(segment)
    return found
