"""Requests → the bytes of their heads (RFC 9112, 3 and 5).

Contract: prevents request smuggling. Rejects characters that are not allowed in a head; only this module
writes the fields for framing and routing.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from engine.http.fields import FRAMING_FIELDS
from engine.http.messages import UpstreamRequest
from engine.http.methods import BODY_METHODS

PORTS: Final = {"http": 80, "https": 443}

_START = re.compile(r"[A-Z]+ [\x21-\x7e]+\Z")
_FIELDS = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*\r\n)*\Z")


class InvalidRequest(Exception):
    """A request with characters that are not allowed in a head."""


def authority(origin: str) -> str:
    """The Host field for `scheme://host:port`, without the default port of the scheme."""
    parts = urlsplit(origin)
    default = f":{PORTS[parts.scheme]}"
    return parts.netloc.removesuffix(default) if parts.port is not None else parts.netloc


class RequestHead:
    """Writes heads for one upstream."""

    __slots__ = ("_rest",)

    def __init__(self, origin: str) -> None:
        self._rest = f" HTTP/1.1\r\nhost: {authority(origin)}\r\n"

    def write(self, request: UpstreamRequest) -> bytes:
        """The head, including its final empty line.

        Raises:
            InvalidRequest: the method, target or a field contains characters that are not allowed.
        """
        start = f"{request.method} {request.target}"
        lines = [f"{name}: {value}\r\n" for name, value in request.headers if name not in FRAMING_FIELDS]
        fields = "".join(lines)
        if not _START.match(start) or not _FIELDS.match(fields) or fields.count("\r\n") != len(lines):
            raise InvalidRequest("invalid request head")
        framing = _framing(request)
        return f"{start}{self._rest}{fields}{framing}\r\n".encode("latin-1")


def _framing(request: UpstreamRequest) -> str:
    """The field that delimits the body: Content-Length if its length is known."""
    if request.body is None:
        length: int | None = len(request.content.data)
    else:
        length = request.body.length
    if length is None:
        return "transfer-encoding: chunked\r\n"
    if length or request.method in BODY_METHODS:
        return f"content-length: {length}\r\n"
    return ""
