"""Media types: whether a Content-Type is JSON or text, and text in its declared charset."""

from __future__ import annotations

import re
from typing import Final

_CHARSET = re.compile(r";\s*charset=\"?([A-Za-z0-9_-]+)", re.IGNORECASE)

#: `text` types that mappings do not treat as text. HTML from an API is an error page.
_NOT_TEXT: Final = ("text/json", "text/event-stream", "text/html")

#: Labels of charsets other than UTF-8 (WHATWG Encoding) → Python's names.
_CHARSETS: Final = {
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "windows-1252": "cp1252",
    "iso-8859-15": "iso8859-15",
}


def is_json(media_type: str) -> bool:
    """Whether a Content-Type is JSON (RFC 8259; `+json` of RFC 6839)."""
    kind = media_type.partition(";")[0].strip().lower()
    return kind in ("application/json", "text/json") or kind.endswith("+json")


def is_text(media_type: str) -> bool:
    """Whether a Content-Type is text, other than JSON, events or HTML."""
    if media_type[:5].lower() != "text/":
        return False
    return media_type.partition(";")[0].strip().lower() not in _NOT_TEXT


def decoded_text(data: bytes, media_type: str) -> str:
    """Decode a body: as UTF-8 unless a single-byte charset is declared; invalid bytes are replaced."""
    declared = _CHARSET.search(media_type)
    charset = _CHARSETS.get(declared[1].lower(), "utf-8") if declared else "utf-8"
    return data.decode(charset, "replace")
