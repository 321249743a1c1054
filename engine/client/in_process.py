"""Another mapping as an upstream: the call stays in the process and its values are not parsed again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from engine.client.request_bodies import Body, BufferedRequestBody, PassedBody
from engine.client.response_events import Flow
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
    Source,
    UpstreamRequest,
    UpstreamResponse,
)
from engine.plan import UpstreamPlan
from engine.values import dumps


class Events(PumpByNext):
    """The events of another mapping's stream, handed on as values. `release` lets go of its upstream;
    `upstream` is the name by which it was called."""

    next: Callable[[], Awaitable[list[Any] | None]]

    def __init__(self, flow: Flow, release: Callable[[], Awaitable[None]], upstream: str) -> None:
        self.next = flow.next
        self.aclose = release
        self.upstream = upstream

    async def content(self, limit: int) -> Content:
        """All of them, one JSON text a line: what a client that wants no stream would read."""
        return Content(await _all_of(self._line, limit, self.upstream), "application/x-ndjson")

    async def _line(self) -> bytes | None:
        events = await self.next()
        return None if events is None else b"".join(dumps(event) + b"\n" for event in events)


class PassedBytes(PumpByNext):
    """The bytes of an answer that another mapping passes on. `release` lets go of its upstream."""

    def __init__(self, source: Source, release: Callable[[], Awaitable[None]]) -> None:
        self.next = source.next
        self.content = source.content
        self.aclose = release


class WrittenEvents(PumpByNext):
    """The events of another mapping's stream as the bytes that its own client would read."""

    def __init__(self, events: Events, stream: EventStream, exchange: Exchange) -> None:
        self._events = events
        self._stream = stream
        self._writer = EventWriter(stream.plan, exchange)
        self._is_over = False

    async def next(self) -> bytes | None:
        """The next events, written; None at the end.

        Raises:
            ExchangeError: the stream has failed; what tells of it has been given before.
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
        """All that still comes."""
        return Content(await _all_of(self.next, limit, self._events.upstream), "")

    async def aclose(self) -> None:
        """End the other mapping's exchange."""
        await self._events.aclose()


def _body(request: UpstreamRequest) -> Body:
    """The body of a request, as the other mapping reads it."""
    if request.body is None:
        return BufferedRequestBody(request.content)
    return PassedBody(request.body, first_value(request.headers, "content-type") or "")


async def _all_of(next_piece: Callable[[], Awaitable[bytes | None]], limit: int, upstream: str) -> bytes:
    """All pieces as one, at most so many bytes."""
    pieces, size = [], 0
    while (piece := await next_piece()) is not None:
        size += len(piece)
        if size > limit:
            raise _too_large(upstream, limit)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(upstream: str, limit: int) -> ExchangeError:
    return call_failed(upstream, "too_large", f"over {limit} bytes")


#: Answers a request with the routes of the mapping that is an upstream; an answer that is not whole comes
#: with its source, which gives bytes where these are wanted, and else events. None is what comes of a request
#: that no route of the mapping serves.
Answer = Callable[[UpstreamPlan, Inbound, Body, bool], Awaitable[tuple[Response | None, Source | None]]]


class MappingUpstream:
    """One mapping that another one calls, by its paths without its prefix."""

    def __init__(self, plan: UpstreamPlan, answer: Answer) -> None:
        self._plan = plan
        self._answer = answer

    async def send(self, request: OutgoingRequest, streams: bool = False) -> UpstreamResponse:
        """Answer the request from the other mapping, as over HTTP, but for its client's key.

        Raises:
            ExchangeError: as `Upstream.send`; `not_found`, where the client chose a path that is not served.
        """
        path, _, query = request.target.partition("?")
        request_id = first_value(request.headers, "x-request-id") or ""
        try:
            async with asyncio.timeout(request.timeout):
                inbound = Inbound(request.method, path, query, request.headers, request.content, request_id)
                inbound.is_internal = True
                inbound.key = request.client.key if request.client is not None else None
                inbound.is_proxied = True  # the outer mapping has decided what it sends
                response, source = await self._answer(self._plan, inbound, _body(request), request.raw)
        except TimeoutError:
            raise call_failed(self._plan.name, "timeout", "total") from None
        if response is None:
            raise no_route(self._plan.name, self._plan.mapping or "", request, path)
        headers, media_type = response.headers, response.media_type
        if media_type:
            headers = (*headers, ("content-type", media_type))
        if source is not None and not streams:
            return UpstreamResponse(response.status, headers, await self._whole(source, request.max_bytes))
        content = response.content if isinstance(response, CompleteResponse) else Content(b"", media_type)
        if not request.raw and len(content.data) > request.max_bytes:
            raise _too_large(self._plan.name, request.max_bytes)
        return UpstreamResponse(response.status, headers, content, source)

    async def _whole(self, source: Source, limit: int) -> Content:
        try:
            return await source.content(limit)
        finally:
            await source.aclose()

    async def aclose(self) -> None:
        """Nothing is held."""
