"""Facts of HTTP that several rooms go by: methods, header fields, paths.

Contract: constants, and functions of plain text. Must not know requests, mappings or any HTTP library.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, unquote, unquote_plus

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


#: A field's name (RFC 9110, 5.1), of a length that servers take.
FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}\Z")

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


#: How often a path is decoded by one server after another.
_DECODINGS: Final = 2
_SLASH = re.compile(r"[/\\]")
_AMBIGUOUS = re.compile(r"[%\\;]|//|/\.|[^!-~]|./\Z")
_BLANK: Final = "".join(map(chr, range(33))) + "\x7f"


def is_ambiguous(path: str) -> bool:
    """Whether servers may read a path in several ways."""
    return _AMBIGUOUS.search(path) is not None


def readings(path: str) -> Iterator[list[str]]:
    """The segments of a path as servers may read them.

    They decode it not at all, once or twice, take `\\` for a slash and look-alikes for ASCII (NFKC), and cut
    off what begins at `;` (Java) or NUL (C), and white space and control characters around a segment.
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
    """Segments without empty ones, `.` and `..` (RFC 3986, 5.2.4)."""
    found: list[str] = []
    for segment in segments:
        if segment == "..":
            del found[-1:]
        elif segment not in ("", "."):
            found.append(segment)
    return found
