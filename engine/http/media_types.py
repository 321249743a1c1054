"""Media types: whether a Content-Type is JSON or text, and text in its declared charset."""

from __future__ import annotations

import re
from typing import Final

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
