"""Facts of HTTP that several rooms go by: methods, header fields, paths.

Contract: constants, and functions of plain text. Must not know requests, mappings or any HTTP library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote_plus

#: Methods whose requests have a body, be it an empty one (RFC 9110, 8.6).
BODY_METHODS: Final = frozenset(("POST", "PUT", "PATCH"))

#: Methods that do the same when they are sent twice (RFC 9110, 9.2.2).
IDEMPOTENT_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))

#: Fields of framing and routing, in lower case: each side of a connection writes them for itself.
FRAMING_FIELDS: Final = frozenset(
    (
        *("connection", "content-length", "host", "keep-alive", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    )
)


#: Fields in which proxies tell of the client, in lower case; so do all that begin with `X-Forwarded-`.
_CLIENT_FIELDS: Final = frozenset(("forwarded", "x-real-ip"))

#: Names of header fields and parameters whose values are credentials, whoever sets them.
CREDENTIAL_NAME: Final = re.compile(
    r"(^|[-_.])(api-?key|key|token|secret|passw(or)?d|auth|authorization|cookie|credentials?|signature)$",
    re.IGNORECASE,
)


def tells_of_client(name: str) -> bool:
    """Whether proxies put the client's address, host or scheme into a header field."""
    return name in _CLIENT_FIELDS or name.startswith("x-forwarded-")


def hyphenated(name: str) -> str:
    """A field's name as servers see it that take `_` for `-` (CGI, RFC 3875, 4.1.18); names in lower case."""
    return name.replace("_", "-")


def parameter_name(raw: str) -> str:
    """A parameter's name as the most lenient server reads it: decoded, in lower case, and without the white
    space and NUL around it that some cut off."""
    return unquote_plus(raw).strip(" \t\r\n\0").casefold()


def first_value(fields: Iterable[tuple[str, str]], name: str) -> str | None:
    """The first value of a header field; names in lower case."""
    for key, value in fields:
        if key == name:
            return value
    return None


def literal_path(path: str) -> str:
    """A path as it goes on the request line: what cannot stand there is percent-encoded."""
    return quote(path, safe="/%:@!$&'()*+,;=~-._")
