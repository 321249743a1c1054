"""Facts of HTTP that several rooms go by: methods, header fields, paths.

Contract: constants, and functions of plain text. Must not know requests, mappings or any HTTP library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

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

_CHARSET = re.compile(r";\s*charset=\"?([A-Za-z0-9_-]+)", re.IGNORECASE)
#: Subtypes of `text` that are no text for a mapping. HTML where an API is called is an error page.
_NO_TEXT: Final = ("text/json", "text/event-stream", "text/html")
#: Charsets other than UTF-8, as they are declared (WHATWG Encoding), and Python's names of them.
_CHARSETS: Final = {
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "windows-1252": "cp1252",
    "iso-8859-15": "iso8859-15",
}


def first_value(fields: Iterable[tuple[str, str]], name: str) -> str | None:
    """The first value of a header field; names in lower case."""
    for key, value in fields:
        if key == name:
            return value
    return None


def is_json(media_type: str) -> bool:
    """Whether a Content-Type says that a body is one JSON text (RFC 8259; `+json` of RFC 6839)."""
    kind = media_type.partition(";")[0].strip().lower()
    return kind in ("application/json", "text/json") or kind.endswith("+json")


def is_text(media_type: str) -> bool:
    """Whether a Content-Type says that a body is text: not JSON, events or a page for people."""
    if media_type[:5].lower() != "text/":
        return False
    return media_type.partition(";")[0].strip().lower() not in _NO_TEXT


def decoded_text(data: bytes, media_type: str) -> str:
    """The text of a body: in UTF-8 unless a single-byte charset is declared; what is no text is replaced."""
    declared = _CHARSET.search(media_type)
    charset = _CHARSETS.get(declared[1].lower(), "utf-8") if declared else "utf-8"
    return data.decode(charset, "replace")


def literal_path(path: str) -> str:
    """A path as it goes on the request line: what cannot stand there is percent-encoded."""
    return quote(path, safe="/%:@!$&'()*+,;=~-._")
