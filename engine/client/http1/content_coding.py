"""Content codings of responses (RFC 9110, 8.4): bytes in, steps of decoded bytes out.

Contract: pure, and never more than `STEP` bytes at a time, however much a few bytes stand for. We ask for
none of these codings; this is for upstreams that use one all the same.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

from engine.http.messages import Headers

STEP: Final = 64 * 1024

_GZIP: Final = ("gzip", "x-gzip")
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
#: What tells of the bytes as they came, and does not hold of the decoded ones.
_OF_CODED: Final = frozenset(("content-encoding", "content-length"))


#: How much of a coding's name a log shows.
_MAX_NAME: Final = 40
_NOT_TOKEN = re.compile(r"[^A-Za-z0-9_.,-]")


class BadCoding(Exception):
    """The body is not in the coding of its header, or that coding is not supported.

    Attributes:
        what: what the upstream did, for its client; the text of the exception is for the log.
    """

    def __init__(self, cause: str, what: str = "sent a body that is not in its content coding") -> None:
        super().__init__(cause)
        self.what = what


def inflater(headers: Headers) -> Inflater | None:
    """What decodes a body with these headers; None where it has no coding.

    Raises:
        BadCoding: it has another coding than gzip or deflate, or several.
    """
    coding = coding_of(headers)
    return None if coding is None else Inflater(coding in _GZIP)


def coding_of(headers: Headers) -> str | None:
    """The content coding of a body with these headers.

    Raises:
        BadCoding: as `inflater`.
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
        raise BadCoding(f"content-encoding: {named}", "sent a body in a content coding that is not supported")
    return codings[0]


def decoded_headers(headers: Headers) -> Headers:
    """The headers of a body that has been decoded."""
    return tuple(pair for pair in headers if pair[0] not in _OF_CODED)


class Inflater:
    """Decodes one body.

    Attributes:
        taken, given: how many bytes came in and went out so far.
    """

    def __init__(self, is_gzip: bool) -> None:
        self.taken = 0
        self.given = 0
        self._is_gzip = is_gzip
        self._inflate = zlib.decompressobj(_GZIP_WINDOW) if is_gzip else None
        self._pending = b""
        self._has_more = False

    @property
    def ratio(self) -> float:
        """How many bytes one coded byte has stood for so far."""
        return self.given / max(1, self.taken - len(self._pending))

    def feed(self, data: bytes) -> None:
        """Take coded bytes; to be called once `step` gives no more."""
        self.taken += len(data)
        self._pending += data

    def step(self) -> bytes:
        """The next decoded bytes; none where more coded ones are needed.

        Raises:
            BadCoding: this is not in the coding.
        """
        inflate = self._inflate or self._begin()
        while inflate is not None and (self._pending or self._has_more):
            if inflate.eof:
                inflate = self._begin_member()
            try:
                data = inflate.decompress(self._pending, STEP)
            except zlib.error:
                raise BadCoding("the body is not in its content coding") from None
            self._pending = inflate.unconsumed_tail or inflate.unused_data
            self._has_more = len(data) == STEP and not inflate.eof
            if data:
                self.given += len(data)
                return data
        return b""

    def close(self) -> None:
        """No coded bytes come any more.

        Raises:
            BadCoding: some are missing.
        """
        if self.taken and (self._inflate is None or not self._inflate.eof):
            raise BadCoding("the body ends within its content coding")

    def _begin(self) -> zlib._Decompress | None:
        """`deflate` is meant to have a header (RFC 1950), which some leave out."""
        if len(self._pending) < 2:
            return None
        first, second = self._pending[:2]
        has_header = first & 15 == 8 and (first << 8 | second) % 31 == 0
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        return self._inflate

    def _begin_member(self) -> zlib._Decompress:
        """A gzip body may have several members (RFC 1952, 2.2)."""
        if not self._is_gzip:
            raise BadCoding("more of a body than its content coding has")
        self._inflate = zlib.decompressobj(_GZIP_WINDOW)
        return self._inflate
