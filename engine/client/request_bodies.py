"""Bodies of requests, which an exchange reads completely or streams.

Contract: never buffers more than the limit of the reader. Bodies that are received over a connection are in
`engine.server`; those here belong to calls that stay in the process.
"""

from __future__ import annotations

from typing import Any, Protocol

from engine.exchange import too_large
from engine.http.messages import BodySource, BufferedBody, Content


class Body(Protocol):
    """The body of a request, not read yet."""

    async def read(self, limit: int) -> Content:
        """The complete body, at most `limit` bytes; raises `payload_too_large`."""
        ...

    def open(self, limit: int | None) -> Any:
        """A `BodySource` for `UpstreamRequest.body`, or None if there is no body; raises as `read`."""
        ...


class BufferedRequestBody:
    """A body in memory. A value that was never serialized has no size limit here: its source was limited."""

    __slots__ = ("_content",)

    def __init__(self, content: Content) -> None:
        self._content = content

    async def read(self, limit: int) -> Content:
        """As `Body.read`."""
        if self._content.has_data and len(self._content.data) > limit:
            raise too_large(limit)
        return self._content

    def open(self, limit: int | None) -> BufferedBody | None:
        """As `Body.open`."""
        if self._content.is_empty:
            return None
        data = self._content.data
        if limit is not None and len(data) > limit:
            raise too_large(limit)
        return BufferedBody(data)


class ForwardedBody:
    """A body that is streamed from another exchange."""

    __slots__ = ("_media_type", "_source")

    def __init__(self, source: BodySource, media_type: str) -> None:
        self._source = source
        self._media_type = media_type

    async def read(self, limit: int) -> Content:
        """As `Body.read`."""
        source, pieces = _Bounded(self._source, limit), []
        while (piece := await source.next()) is not None:
            pieces.append(piece)
        return Content(b"".join(pieces), self._media_type)

    def open(self, limit: int | None) -> BodySource:
        """As `Body.open`."""
        return self._source if limit is None else _Bounded(self._source, limit)


class _Bounded:
    """A `BodySource` of at most `limit` bytes."""

    __slots__ = ("_left", "_limit", "_source", "length")

    def __init__(self, source: BodySource, limit: int) -> None:
        self.length = source.length
        if self.length is not None and self.length > limit:
            raise too_large(limit)
        self._source = source
        self._limit = self._left = limit

    async def next(self) -> bytes | None:
        """The next bytes, or None at the end; raises `payload_too_large`."""
        data = await self._source.next()
        self._left -= len(data or b"")
        if self._left < 0:
            raise too_large(self._limit)
        return data
