"""Fast parser for common response heads.

Contract: pure. Accepts only heads that the full parser reads in the same way, which takes several times as
long. Unusual and invalid heads are left to the full parser.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from engine.http.messages import Headers

#: A final status, and lines that end with CRLF and have a name; no folded lines.
_HEAD: Final = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n){1,100})\r\n"
)
_MAX_DIGITS: Final = 15
#: Fields that affect framing, other than Content-Length.
_UNUSUAL: Final = frozenset(("transfer-encoding", "trailer", "upgrade"))


class PlainHead(NamedTuple):
    """A response head. Header names are in lower case, `length` is the Content-Length, `is_identity` is true
    without a content coding, and `size` is the number of bytes of the head."""

    status: int
    headers: Headers
    length: int
    is_identity: bool
    size: int


def plain_head(data: bytes) -> PlainHead | None:
    """The head at the beginning of `data`; None if it is incomplete, unusual or invalid."""
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
