"""Reader of one HTTP/1.1 response (RFC 9112): bytes → its head and pieces of its body.

Contract: pure; no asyncio, no sockets. Only unusual heads and chunked bodies use the parser of httptools.
Other bodies are counted, so the end of the response is exact, and bytes after it are never parsed. Ambiguous
responses are rejected. The only importer of httptools.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import httptools

from engine.client.http1.response_head import PlainHead, plain_head
from engine.http.messages import Headers

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 100
MAX_INTERIM: Final = 10
#: The maximum of consecutive bytes of a chunked body without content: chunk extensions and trailers.
MAX_OVERHEAD: Final = 64 * 1024

_END_OF_HEAD: Final = b"\r\n\r\n"
_BODILESS: Final = (204, 304)


class InvalidResponse(Exception):
    """The data is not a valid response, or is ambiguous."""


class ResponseReader:
    """A response that is being received.

    Attributes:
        status: of the final response; 0 until its head is complete.
        headers: its header fields, names in lower case.
        chunks: pieces of the body that were not taken yet.
        size: the number of bytes in `chunks`.
        has_begun: a byte was received.
        is_complete: the response has ended.
        has_surplus: bytes were received after its end.
        is_last: the connection carries no further response.
        is_plain: the body has a Content-Length and no content coding.
        length: the Content-Length, or 0 if there is none.
    """

    __slots__ = (
        "_fields",
        "_framing",
        "_head_size",
        "_interim",
        "_is_bodiless",
        "_is_parsed",
        "_overhead",
        "_parser",
        "_remaining",
        "_tail",
        "chunks",
        "has_begun",
        "has_surplus",
        "headers",
        "is_complete",
        "is_last",
        "is_plain",
        "length",
        "size",
        "status",
    )

    def __init__(self, method: str) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.chunks: list[bytes] = []
        self.size = 0
        self.has_begun = False
        self.is_complete = False
        self.has_surplus = False
        self.is_last = False
        self.is_plain = False
        self.length = 0
        # Functions, not bound methods: an object that holds its own bound method is a reference cycle.
        self._framing: Callable[[ResponseReader, bytes], None] = ResponseReader._feed_head
        self._parser: httptools.HttpResponseParser | None = None
        self._is_bodiless = method == "HEAD"
        self._is_parsed = False
        self._fields: list[tuple[bytes, bytes]] = []
        self._head_size = 0
        self._interim = 0
        self._tail = b""
        self._remaining = 0
        self._overhead = 0

    def feed(self, data: bytes) -> None:
        """Add received bytes, at least one.

        Raises:
            InvalidResponse: the data is not a valid response.
        """
        self._framing(self, data)
        self.has_begun = True

    def eof(self) -> None:
        """The connection was closed.

        Raises:
            InvalidResponse: the response is incomplete.
        """
        if self._framing is ResponseReader._feed_until_close:
            self._end()
        elif not self.is_complete:
            raise InvalidResponse("closed before the end of the response" if self.has_begun else "closed")

    def take(self, limit: int) -> bytes:
        """Take the buffered pieces, joined; at most `limit` bytes."""
        data = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        rest = data[limit:]
        self.chunks, self.size = [rest] if rest else [], len(rest)
        return data[:limit]

    def close(self) -> None:
        """Stop parsing. Breaks the reference cycle of the parser and its callbacks."""
        self._parser = None
        self._framing = ResponseReader._feed_surplus

    # --- The head ------------------------------------------------------------------------------------

    def _feed_head(self, data: bytes) -> None:
        if self._parser is None:
            plain = plain_head(data)
            if plain is not None and self._head_size + plain.size <= MAX_HEAD_BYTES:
                self._take_plain(plain, data)
                return
            if data[:1] != b"H":
                raise InvalidResponse("not HTTP")
            self._parser = httptools.HttpResponseParser(self)
        window = self._tail + data
        at = window.find(_END_OF_HEAD)
        end = at + 4 - len(self._tail) if at >= 0 else len(data)
        self._head_size += end
        if self._head_size > MAX_HEAD_BYTES:
            raise InvalidResponse("head too large")
        self._parse(data[:end])
        if len(self._fields) > MAX_FIELDS:
            raise InvalidResponse("too many header fields")
        if self._is_parsed is not (at >= 0):
            raise InvalidResponse("malformed head")
        if at < 0:
            self._tail = window[-3:]
        else:
            self._head_ended(data[end:])

    def _take_plain(self, plain: PlainHead, data: bytes) -> None:
        self.status, self.headers, self.is_plain = plain.status, plain.headers, plain.is_identity
        if self._is_bodiless or plain.status in _BODILESS or not plain.length:
            self._end()
        else:
            self._framing = ResponseReader._feed_counted
            self._remaining = self.length = plain.length
        if len(data) > plain.size:
            self._framing(self, data[plain.size :])

    def _parse(self, data: bytes) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise InvalidResponse("status 101") from None
        except httptools.HttpParserError as error:
            raise InvalidResponse(str(error)) from None

    def _head_ended(self, rest: bytes) -> None:
        """Process the end of a head: of the final response, or of an interim one, which is skipped (RFC 9110,
        15.2)."""
        assert self._parser is not None
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise InvalidResponse("version")
        if 100 <= status <= 199:
            self._skip_interim()
        elif 200 <= status <= 599:
            fields = self._fields
            self.headers = tuple((n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in fields)
            self._choose_framing(status, version == "1.1")
            # Last, so that a head with invalid framing does not count as received.
            self.status = status
        else:
            raise InvalidResponse(f"status {status}")
        if rest:
            self._framing(self, rest)

    def _skip_interim(self) -> None:
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise InvalidResponse("too many interim responses")
        self._fields = []
        self._tail = b""
        self._is_parsed = False
        self._parser = None

    def _choose_framing(self, status: int, may_be_chunked: bool) -> None:
        """Choose how the body is delimited (RFC 9112, 6.3). The parser has rejected repeated lengths, and a
        length together with a transfer coding."""
        length, coding = None, None
        for name, value in self._fields:
            key = name.lower()
            if key == b"content-length":
                length = int(value)
            elif key == b"transfer-encoding":
                coding = value.lower() if coding is None else b""
        if coding is not None and (coding != b"chunked" or not may_be_chunked):
            raise InvalidResponse("transfer-encoding")
        if self._is_bodiless or status in _BODILESS or length == 0:
            self._end()
        elif coding is not None:
            self._framing = ResponseReader._feed_chunks
            return
        elif length is not None:
            self._framing = ResponseReader._feed_counted
            self._remaining = self.length = length
        else:
            self._framing, self.is_last = ResponseReader._feed_until_close, True
        self._parser = None

    # --- The body ------------------------------------------------------------------------------------

    def _feed_counted(self, data: bytes) -> None:
        self._remaining -= len(data)
        if self._remaining > 0:
            self._add(data)
            return
        surplus = -self._remaining
        self._add(data[:-surplus] if surplus else data)
        self._end()
        self.has_surplus = surplus > 0

    def _feed_chunks(self, data: bytes) -> None:
        before = self.size
        try:
            self._parse(data)
        except InvalidResponse:
            if not self.is_complete:
                raise
            self.has_surplus = True
        self._overhead = self._overhead + len(data) if self.size == before else 0
        if self._overhead > MAX_OVERHEAD:
            raise InvalidResponse("chunks without content")
        if self.is_complete:
            self._parser = None

    def _feed_until_close(self, data: bytes) -> None:
        self._add(data)

    def _feed_surplus(self, data: bytes) -> None:
        self.has_surplus = True

    def _add(self, data: bytes) -> None:
        self.chunks.append(data)
        self.size += len(data)

    def _end(self) -> None:
        self.is_complete = True
        self._framing = ResponseReader._feed_surplus

    # --- What the parser calls -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The start of a response, or of surplus data after a complete one."""
        self.has_surplus = self.is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or a trailer field, which is dropped (RFC 9110, 6.5.1)."""
        if not self.status:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The end of the head, unless it belongs to surplus data."""
        if not self.status:
            assert self._parser is not None
            self._is_parsed = True
            self.is_last = not self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """A piece of a chunked body."""
        if not self.is_complete:
            # `_add`, inlined: a stream has as many pieces as events.
            self.chunks.append(data)
            self.size += len(data)

    def on_message_complete(self) -> None:
        """The end of a chunked body; for other responses, the parser receives only the head."""
        if self._framing is ResponseReader._feed_chunks:
            self._end()
