"""Header fields: their names, their values, and which of them are not forwarded.

Contract: constants and pure functions. Must not know requests, mappings or any HTTP library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: Fields of framing and routing, in lower case: each connection has its own.
FRAMING_FIELDS: Final = frozenset(
    (
        *("connection", "content-length", "host", "keep-alive", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    )
)

#: A field name (RFC 9110, 5.1), of a length that servers accept.
FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}\Z")

#: Fields in which proxies send information about the client, in lower case; `X-Forwarded-*` fields do so too.
_CLIENT_FIELDS: Final = frozenset(("forwarded", "x-real-ip"))

#: Names of header fields and parameters whose values are credentials, regardless of who sets them.
CREDENTIAL_NAME: Final = re.compile(
    r"(^|[-_.])(api-?key|key|token|secret|passw(or)?d|auth|authorization|cookie|credentials?|signature)$",
    re.IGNORECASE,
)


def reveals_client(name: str) -> bool:
    """Whether proxies put the client's address, host or scheme into a header field."""
    return name in _CLIENT_FIELDS or name.startswith("x-forwarded-")


def hyphenated(name: str) -> str:
    """A field name in lower case, as seen by servers that treat `_` as `-` (CGI, RFC 3875, 4.1.18)."""
    return name.replace("_", "-")


def first_value(fields: Iterable[tuple[str, str]], name: str) -> str | None:
    """The first value of a header field; names in lower case."""
    for key, value in fields:
        if key == name:
            return value
    return None


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Header fields by name; the values of repeated fields are joined with commas (RFC 9110, 5.3)."""
    fields: dict[str, str] = {}
    for name, value in headers:
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields
