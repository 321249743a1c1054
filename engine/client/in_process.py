"""Another mapping as an upstream: calls stay in the process, and values are not parsed again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from engine.client.request_bodies import Body, BufferedRequestBody, ForwardedBody
from engine.client.response_events import ResponseEvents
from engine.errors import ExchangeError, call_failed
from engine.exchange import EventStream, EventWriter, Response, no_route
from engine.exchange.exchange import Exchange
from engine.exchange.response_source import PumpByNext
from engine.http.fields import first_value
from engine.http.messages import (
    CompleteResponse,
    Content,
    Inbound,
    OutgoingRequest,
    Report,
    Source,
    UpstreamRequest,
    UpstreamResponse,
)
from engine.plan import UpstreamPlan
from engine.values import dumps


class EventSource(PumpByNext):
    """The events of another mapping's stream, as values. `release` releases its exchange, and `upstream` is
    the name by which it was called."""

    next: Callable[[], Awaitable[list[Any] | None]]

    def __init__(self, events: ResponseEvents, release: Callable[[], Awaitable[None]], upstream: str) -> None:
        self.next = events.next
        self.aclose = release
        self.upstream = upstream

    async def content(self, limit: int) -> Content:
        """All events as NDJSON, for a caller that does not stream."""
        return Content(await _read_pieces(self._next_lines, limit, self.upstream), "application/x-ndjson")

    async def _next_lines(self) -> bytes | None:
        events = await self.next()
        return None if events is None else b"".join(dumps(event) + b"\n" for event in events)


class ForwardedSource(PumpByNext):
    """The bytes of a response that another mapping forwards. `release` releases its exchange."""

    def __init__(self, source: Source, release: Callable[[], Awaitable[None]]) -> None:
        self.next = source.next
        self.content = source.content
        self.aclose = release


class EncodedEventSource(PumpByNext):
    """The events of another mapping's stream, encoded as for its clients."""

    def __init__(self, events: EventSource, stream: EventStream, exchange: Exchange) -> None:
        self._events = events
        self._stream = stream
        self._writer = EventWriter(stream.plan, exchange)
        self._is_over = False

    async def next(self) -> bytes | None:
        """The next events as bytes; None at the end.

        Raises:
            ExchangeError: the stream has failed; the in-band error has already been returned.
        """
        if self._is_over:
            return None
        events = await self._events.next()
        if events is not None:
            return self._writer.write(events, self._stream)
        if self._stream.error is not None:
            raise self._stream.error
        self._is_over = True
        return self._writer.close() or None

    async def content(self, limit: int) -> Content:
        """The rest of the body."""
        return Content(await _read_pieces(self.next, limit, self._events.upstream), "")

    async def aclose(self) -> None:
        """Release the exchange of the other mapping."""
        await self._events.aclose()


def _body(request: UpstreamRequest) -> Body:
    """The body of a request, for the other mapping."""
    if request.body is None:
        return BufferedRequestBody(request.content)
    return ForwardedBody(request.body, first_value(request.headers, "content-type") or "")


async def _read_pieces(next_piece: Callable[[], Awaitable[bytes | None]], limit: int, upstream: str) -> bytes:
    """All pieces joined, at most `limit` bytes."""
    pieces, size = [], 0
    while (piece := await next_piece()) is not None:
        size += len(piece)
        if size > limit:
            raise _too_large(upstream, limit)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(upstream: str, limit: int) -> ExchangeError:
    return call_failed(upstream, "too_large", f"over {limit} bytes")


class Handled(NamedTuple):
    """The response of another mapping, with the report of its exchange. `source` is that of a streaming
    response."""

    response: Response
    report: Report
    source: Source | None = None


#: Handles a request with the routes of the mapping that is the upstream. The source of a streaming response
#: is one of bytes if the last argument is true, else of events. Returns None if no route matches.
Handler = Callable[[UpstreamPlan, Inbound, Body, bool], Awaitable[Handled | None]]


class MappingUpstream:
    """A mapping that is called by another mapping, by its paths without its prefix."""

    def __init__(self, plan: UpstreamPlan, handle: Handler) -> None:
        self._plan = plan
        self._handle = handle

    async def send(self, request: OutgoingRequest, streams: bool = False) -> UpstreamResponse:
        """Send a request to the other mapping, as over HTTP, except for the key of its client.

        Raises:
            ExchangeError: as `Upstream.send`; `not_found` if the client chose a path that no route matches.
        """
        path, _, query = request.target.partition("?")
        request_id = first_value(request.headers, "x-request-id") or ""
        try:
            async with asyncio.timeout(request.timeout):
                inbound = Inbound(request.method, path, query, request.headers, request.content, request_id)
                inbound.is_internal = True
                inbound.key = request.client.key if request.client is not None else None
                inbound.is_proxied = True  # the outer mapping has already filtered it
                handled = await self._handle(self._plan, inbound, _body(request), request.raw)
        except TimeoutError:
            raise call_failed(self._plan.name, "timeout", "total") from None
        if handled is None:
            raise no_route(self._plan.name, self._plan.mapping or "", request, path)
        received = await self._received(request, handled, streams)
        received.report = handled.report
        return received

    async def _received(self, request: OutgoingRequest, handled: Handled, streams: bool) -> UpstreamResponse:
        """The response of the other mapping, as that of an upstream.

        Raises:
            ExchangeError: its body is too large, or cannot be read.
        """
        response, source = handled.response, handled.source
        headers, media_type = response.headers, response.media_type
        if media_type:
            headers = (*headers, ("content-type", media_type))
        if source is not None and not streams:
            return UpstreamResponse(response.status, headers, await self._read_all(source, request.max_bytes))
        content = response.content if isinstance(response, CompleteResponse) else Content(b"", media_type)
        if not request.raw and len(content.data) > request.max_bytes:
            raise _too_large(self._plan.name, request.max_bytes)
        return UpstreamResponse(response.status, headers, content, source)

    async def _read_all(self, source: Source, limit: int) -> Content:
        try:
            return await source.content(limit)
        finally:
            await source.aclose()

    async def aclose(self) -> None:
        """Does nothing: there are no connections to close."""
