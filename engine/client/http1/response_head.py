"""The head of a response as nearly all are, read at once.

Contract: pure. What is taken here would be taken just so by the parser, which takes several times as long;
all that is unusual, let alone wrong, is left to that one.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from engine.http.messages import Headers

#: A status of a final answer, and no line that is folded, bare of a name, or ended otherwise than by CRLF.
_HEAD: Final = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n){1,100})\r\n"
)
_MAX_DIGITS: Final = 15
#: Fields that say how the body is framed, other than by its length.
_UNUSUAL: Final = frozenset(("transfer-encoding", "trailer", "upgrade"))


class PlainHead(NamedTuple):
    """Status, header fields with names in lower case, the body's length, whether it has no content coding,
    and how many bytes the head has."""

    status: int
    headers: Headers
    length: int
    is_identity: bool
    size: int


def plain_head(data: bytes) -> PlainHead | None:
    """The head that stands at the beginning of `data`; None where another one is there, or a part of one."""
    found = _HEAD.match(data)
    if found is None:
        return None
    fields, length, is_identity = [], None, True
    for line in found[2].decode("latin-1").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name == "content-length":
            if length is not None or not value.isdecimal() or len(value) > _MAX_DIGITS:
                return None
            length = int(value)
        elif name in _UNUSUAL or (name == "connection" and value.lower() != "keep-alive"):
            return None
        elif name == "content-encoding":
            is_identity = False
        fields.append((name, value))
    if length is None:
        return None
    return PlainHead(int(found[1]), tuple(fields), length, is_identity, found.end())
