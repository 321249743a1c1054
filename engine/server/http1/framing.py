"""The head of a request → the framing of its body, or the reason to refuse the request.

Contract: pure. A head that two servers could read differently is refused (RFC 9112, sections 3.2, 6.3 and
11.2): this prevents request smuggling. Host has no influence on the framing.
The parser has already checked names, values and line ends.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from engine.errors import ExchangeError
from engine.server.http1.limits import Limits

Fields = list[tuple[bytes, bytes]]

_RELEVANT_FIELDS: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"expect", b"origin", b"sec-fetch-site"}
)
#: RFC 3986, section 3.2.2, without user information: a name or IPv4 address, or an IPv6 address.
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{0,5}))?\Z")
#: The maximum number of digits of a Content-Length, so that it fits a 64-bit integer.
_LENGTH_DIGITS: Final = 19
_ORIGIN: Final = re.compile(r"https?://[^/?#@]+(?=[/?]|\Z)", re.IGNORECASE)
_ALLOW_FIELD: Final = (("allow", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),)


class Framing(NamedTuple):
    """The framing of a body (`line` is the header field that defines it), the host that the request names,
    and whether a web page in a browser may have made the request."""

    has_body: bool = False
    is_chunked: bool = False
    expects_continue: bool = False
    line: bytes = b""
    host: bytes = b""
    is_from_page: bool = True


class Target(NamedTuple):
    """A request target: the raw path, the path decoded, and the raw query."""

    raw: str
    path: str
    query: bytes


def refusal(message: str, status: int = 400) -> ExchangeError:
    """The error for an invalid request, or for one that took too long."""
    return ExchangeError("invalid_request", message, status=status)


def framing_of(version: str, headers: Fields) -> Framing:
    """The framing of the body of a request. The names in `headers` are in lower case.

    Raises:
        ExchangeError: `invalid_request`: 400, 417, 501 or 505.
    """
    if version not in ("1.1", "1.0"):
        raise refusal("unsupported HTTP version", 505)
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in _RELEVANT_FIELDS:
            found.setdefault(name, []).append(value)
    host = _host(version, found.get(b"host", []))
    is_from_page = b"origin" in found or b"sec-fetch-site" in found
    expects = version == "1.1" and _expects_continue(found.get(b"expect"))
    if b"transfer-encoding" in found:
        line = _chunked(version, found)
        return Framing(True, True, expects, line, host, is_from_page)
    lengths = found.get(b"content-length")
    if lengths is None:
        return Framing(False, False, expects, b"", host, is_from_page)
    if len(lengths) > 1:
        raise refusal("duplicate Content-Length")
    length = lengths[0].strip()
    if not length.isdigit() or len(length) > _LENGTH_DIGITS:
        raise refusal("invalid Content-Length")
    line = b"content-length: " + length
    return Framing(int(length) > 0, False, expects, line, host, is_from_page)


def _chunked(version: str, found: dict[bytes, list[bytes]]) -> bytes:
    codings = found[b"transfer-encoding"]
    if version == "1.0" or len(codings) > 1 or b"content-length" in found:
        raise refusal("ambiguous framing: Transfer-Encoding with HTTP/1.0, with Content-Length, or twice")
    if codings[0].strip().lower() != b"chunked":
        raise refusal("unsupported transfer coding", 501)
    return b"transfer-encoding: chunked"


def _expects_continue(values: list[bytes] | None) -> bool:
    if values is None:
        return False
    if [value.strip().lower() for value in values] != [b"100-continue"]:
        raise refusal("unsupported expectation: only 100-continue is supported", 417)
    return True


def _host(version: str, hosts: list[bytes]) -> bytes:
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise refusal("the request must have exactly one Host")
    if hosts and not (len(hosts[0]) <= 255 and _is_host(hosts[0])):
        raise refusal("invalid Host")
    return hosts[0] if hosts else b""


@lru_cache(256)
def _is_host(value: bytes) -> bool:
    found = _HOST.match(value.strip())
    return found is not None and int(found[1] or 0) < 65_536


def target_of(method: str, url: bytes) -> Target:
    """The request target (RFC 9112, section 3.2).

    Raises:
        ExchangeError: `method_not_allowed` for CONNECT, `not_found` for '*', `invalid_request` otherwise.
    """
    if method == "CONNECT":
        raise ExchangeError("method_not_allowed", "CONNECT is not supported", headers=_ALLOW_FIELD)
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
    """An absolute request target without its origin, which is ignored."""
    found = _ORIGIN.match(text)
    if found is None:
        raise refusal("the request target is not a path or an http(s) URL")
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
        raise refusal(f"the request head is larger than {limits.head_bytes} bytes", 431)
