"""A request's head → how its body is framed, or why the request is refused.

Contract: pure. What two servers could read in two ways is refused (RFC 9112, sections 3.2, 6.3 and 11.2), so
that nobody's next request is hidden in this one's body. Host decides nothing about the framing.
The parser has checked names, values and line ends.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from engine.errors import ExchangeError
from engine.server.http1.limits import Limits

Fields = list[tuple[bytes, bytes]]

_WATCHED: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"expect", b"origin", b"sec-fetch-site"}
)
#: RFC 3986, section 3.2.2, without user information: a name or IPv4 address, or an IPv6 address.
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{0,5}))?\Z")
#: Digits of a Content-Length, of which a 64-bit integer has at most so many.
_LENGTH_DIGITS: Final = 19
_ABSOLUTE: Final = re.compile(r"https?://[^/?#@]+(?=[/?]|\Z)", re.IGNORECASE)
_ALLOWED: Final = (("allow", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),)


class Framing(NamedTuple):
    """What a head says of its request: how the body comes (`line` is the header field that says so), which
    host it names, and whether a page in a browser may have made it."""

    has_body: bool = False
    is_chunked: bool = False
    expects_continue: bool = False
    line: bytes = b""
    host: bytes = b""
    is_of_page: bool = True


class Target(NamedTuple):
    """A request target: the raw path, the path decoded, and the raw query."""

    raw: str
    path: str
    query: bytes


def refusal(message: str, status: int = 400) -> ExchangeError:
    """The failure that a request is which is not understood, or not waited for any longer."""
    return ExchangeError("invalid_request", message, status=status)


def framing_of(version: str, headers: Fields) -> Framing:
    """How the body of a request comes. Names are in lower case.

    Raises:
        ExchangeError: `invalid_request`, with the status that fits.
    """
    if version not in ("1.1", "1.0"):
        raise refusal("this version of HTTP is not spoken here", 505)
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in _WATCHED:
            found.setdefault(name, []).append(value)
    host = _host(version, found.get(b"host", []))
    is_of_page = b"origin" in found or b"sec-fetch-site" in found
    expects = version == "1.1" and _expects_continue(found.get(b"expect"))
    if b"transfer-encoding" in found:
        line = _chunked(version, found)
        return Framing(True, True, expects, line, host, is_of_page)
    lengths = found.get(b"content-length")
    if lengths is None:
        return Framing(False, False, expects, b"", host, is_of_page)
    if len(lengths) > 1:
        raise refusal("more than one Content-Length")
    length = lengths[0].strip()
    if not length.isdigit() or len(length) > _LENGTH_DIGITS:
        raise refusal("the Content-Length is not a number")
    line = b"content-length: " + length
    return Framing(int(length) > 0, False, expects, line, host, is_of_page)


def _chunked(version: str, found: dict[bytes, list[bytes]]) -> bytes:
    codings = found[b"transfer-encoding"]
    if version == "1.0" or len(codings) > 1 or b"content-length" in found:
        raise refusal("the framing of the body is ambiguous")
    if codings[0].strip().lower() != b"chunked":
        raise refusal("this transfer coding is not known here", 501)
    return b"transfer-encoding: chunked"


def _expects_continue(values: list[bytes] | None) -> bool:
    if values is None:
        return False
    if [value.strip().lower() for value in values] != [b"100-continue"]:
        raise refusal("this expectation cannot be met", 417)
    return True


def _host(version: str, hosts: list[bytes]) -> bytes:
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise refusal("exactly one Host is wanted")
    if hosts and not (len(hosts[0]) <= 255 and _is_host(hosts[0])):
        raise refusal("the Host is no host")
    return hosts[0] if hosts else b""


@lru_cache(256)
def _is_host(value: bytes) -> bool:
    found = _HOST.match(value.strip())
    return found is not None and int(found[1] or 0) < 65_536


def target_of(method: str, url: bytes) -> Target:
    """The request target (RFC 9112, section 3.2).

    Raises:
        ExchangeError: it is no path: `method_not_allowed` for CONNECT, `not_found` for '*'.
    """
    if method == "CONNECT":
        raise ExchangeError("method_not_allowed", "this is no tunnel", headers=_ALLOWED)
    try:
        text = url.decode("ascii")
    except UnicodeDecodeError:
        raise refusal("the request target is not ASCII") from None
    if text == "*":
        raise ExchangeError("not_found", "no route serves this path")
    if not text.startswith("/"):
        text = _without_origin(text)
    if "#" in text:
        raise refusal("the request target has a fragment")
    raw, _, query = text.partition("?")
    return Target(raw, unquote(raw) if "%" in raw else raw, query.encode())


def _without_origin(text: str) -> str:
    """An absolute target without its origin, which decides nothing here."""
    found = _ABSOLUTE.match(text)
    if found is None:
        raise refusal("the request target is no path")
    rest = text[found.end() :]
    return rest if rest.startswith("/") else "/" + rest


def check_size(url: bytes, headers: Fields, limits: Limits) -> None:
    """Refuse a head that is too large.

    Raises:
        ExchangeError: `invalid_request`, 414 or 431 (RFC 6585, section 5).
    """
    if len(url) > limits.target_bytes:
        raise refusal(f"the request target is longer than {limits.target_bytes} bytes", 414)
    if len(headers) > limits.fields:
        raise refusal(f"there are more than {limits.fields} header fields", 431)
    size = len(url) + 4 * len(headers)
    for name, value in headers:
        size += len(name) + len(value)
    if size > limits.head_bytes:
        raise refusal(f"the request's head is larger than {limits.head_bytes} bytes", 431)
