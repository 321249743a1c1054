"""Content codings of responses (RFC 9110, 8.4): bytes in, steps of decoded bytes out.

Contract: pure; returns at most `STEP` bytes at a time, whatever the compression ratio. We never request a
content coding; this is for upstreams that use one nevertheless.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

from engine.http.messages import Headers

STEP: Final = 64 * 1024

_GZIP: Final = ("gzip", "x-gzip")
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
#: Header fields that describe the coded bytes.
_CODED_FIELDS: Final = frozenset(("content-encoding", "content-length"))


#: The maximum length of a coding's name in logs.
_MAX_NAME: Final = 40
_NOT_TOKEN = re.compile(r"[^A-Za-z0-9_.,-]")


class InvalidCoding(Exception):
    """The body does not match its content coding, or the coding is not supported.

    Attributes:
        what: what the upstream did, for the client; the text of the exception is for the log.
    """

    def __init__(self, cause: str, what: str = "sent a body that does not match its content coding") -> None:
        super().__init__(cause)
        self.what = what


def inflater(headers: Headers) -> Inflater | None:
    """The decoder of a body with these headers, or None if it has no content coding.

    Raises:
        InvalidCoding: there are several codings, or one other than gzip and deflate.
    """
    coding = coding_of(headers)
    return None if coding is None else Inflater(coding in _GZIP)


def coding_of(headers: Headers) -> str | None:
    """The content coding of a body with these headers, or None.

    Raises:
        InvalidCoding: as `inflater`.
    """
    values = [value for name, value in headers if name == "content-encoding"]
    if not values:
        return None
    names = [name.strip().lower() for value in values for name in value.split(",")]
    codings = [name for name in names if name not in ("", "identity")]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in (*_GZIP, "deflate"):
        named = _NOT_TOKEN.sub("?", ",".join(codings)[:_MAX_NAME])
        raise InvalidCoding(f"content-encoding: {named}", "sent a body with an unsupported content coding")
    return codings[0]


def decoded_headers(headers: Headers) -> Headers:
    """The headers of the decoded body."""
    return tuple(pair for pair in headers if pair[0] not in _CODED_FIELDS)


class Inflater:
    """Decodes one body.

    Attributes:
        bytes_in, bytes_out: the number of coded bytes received and of decoded bytes returned so far.
    """

    def __init__(self, is_gzip: bool) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self._is_gzip = is_gzip
        self._inflate = zlib.decompressobj(_GZIP_WINDOW) if is_gzip else None
        self._pending = b""
        self._has_more = False

    @property
    def ratio(self) -> float:
        """Decoded bytes per coded byte so far."""
        return self.bytes_out / max(1, self.bytes_in - len(self._pending))

    def feed(self, data: bytes) -> None:
        """Add coded bytes; call it once `step` returns no more."""
        self.bytes_in += len(data)
        self._pending += data

    def step(self) -> bytes:
        """The next decoded bytes; empty if more coded bytes are needed.

        Raises:
            InvalidCoding: the data does not match the coding.
        """
        inflate = self._inflate or self._begin()
        while inflate is not None and (self._pending or self._has_more):
            if inflate.eof:
                inflate = self._begin_member()
            try:
                data = inflate.decompress(self._pending, STEP)
            except zlib.error:
                raise InvalidCoding("the body does not match its content coding") from None
            self._pending = inflate.unconsumed_tail or inflate.unused_data
            self._has_more = len(data) == STEP and not inflate.eof
            if data:
                self.bytes_out += len(data)
                return data
        return b""

    def close(self) -> None:
        """End the coded data.

        Raises:
            InvalidCoding: the data is truncated.
        """
        if self.bytes_in and (self._inflate is None or not self._inflate.eof):
            raise InvalidCoding("the coded body is truncated")

    def _begin(self) -> zlib._Decompress | None:
        """`deflate` requires a zlib header (RFC 1950), but some servers omit it."""
        if len(self._pending) < 2:
            return None
        first, second = self._pending[:2]
        has_header = first & 15 == 8 and (first << 8 | second) % 31 == 0
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        return self._inflate

    def _begin_member(self) -> zlib._Decompress:
        """A gzip body may have several members (RFC 1952, 2.2)."""
        if not self._is_gzip:
            raise InvalidCoding("data after the end of the coded body")
        self._inflate = zlib.decompressobj(_GZIP_WINDOW)
        return self._inflate
