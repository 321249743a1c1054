"""Facts of HTTP that several rooms go by: methods, header fields, paths.

Contract: constants, and functions of plain text. Must not know requests, mappings or any HTTP library.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

#: Methods whose requests have a body, be it an empty one (RFC 9110, 8.6).
BODY_METHODS: Final = frozenset(("POST", "PUT", "PATCH"))

#: The method in whose bodies a null is a value, as it removes what is there (RFC 7396).
NULLS_MATTER: Final = "PATCH"

#: Methods that do the same when they are sent twice (RFC 9110, 9.2.2).
IDEMPOTENT_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))

#: Fields of framing and routing, in lower case: each side of a connection writes them for itself.
FRAMING_FIELDS: Final = frozenset(
    (
        *("connection", "content-length", "host", "keep-alive", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    )
)


def first_value(fields: Iterable[tuple[str, str]], name: str) -> str | None:
    """The first value of a header field; names in lower case."""
    for key, value in fields:
        if key == name:
            return value
    return None


def literal_path(path: str) -> str:
    """A path as it goes on the request line: what cannot stand there is percent-encoded."""
    return quote(path, safe="/%:@!$&'()*+,;=~-._")
