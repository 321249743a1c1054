"""Another mapping as an upstream: the call stays in the process and its values are not parsed again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from engine.errors import call_failed
from engine.exchange import EventStream, EventWriter
from engine.http import first_value
from engine.messages import BodySource, Content, Exchange, Inbound, Outbound, UpstreamReply, UpstreamRequest
from engine.plan import UpstreamPlan
from engine.runtime.flow import Flow
from engine.runtime.upstreams import Source, Stepwise
from engine.values import dumps


class Events(Stepwise):
    """The events of another mapping's stream, handed on as values. `release` lets go of its upstream."""

    next: Callable[[], Awaitable[list[Any] | None]]

    def __init__(self, flow: Flow, release: Callable[[], Awaitable[None]]) -> None:
        self.next = flow.next
        self.aclose = release

    async def content(self) -> Content:
        """All of them, one JSON text a line: what a client that wants no stream would read."""
        lines: list[bytes] = []
        while (events := await self.next()) is not None:
            lines += map(dumps, events)
        return Content(b"\n".join(lines), "application/x-ndjson")


class PassedBytes(Stepwise):
    """The bytes of an answer that another mapping passes on. `release` lets go of its upstream."""

    def __init__(self, source: Source, release: Callable[[], Awaitable[None]]) -> None:
        self.next = source.next
        self.content = source.content
        self.aclose = release


class WrittenEvents(Stepwise):
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
        if self._stream.error is not None:
            raise self._stream.error
        if self._is_over:
            return None
        events = await self._events.next()
        if events is not None:
            return self._writer.write(events, self._stream)
        self._is_over = True
        return self._writer.close() or None

    async def content(self) -> Content:
        """All that still comes."""
        return Content(await _all_of(self), "")

    async def aclose(self) -> None:
        """End the other mapping's exchange."""
        await self._events.aclose()


async def _content(request: UpstreamRequest) -> Content:
    """The body of a request, whole."""
    if request.body is None:
        return request.content
    return Content(await _all_of(request.body), first_value(request.headers, "content-type") or "")


async def _all_of(source: BodySource | WrittenEvents) -> bytes:
    """All pieces of a body, as one."""
    pieces = []
    while (piece := await source.next()) is not None:
        pieces.append(piece)
    return b"".join(pieces)


#: Answers a request with the routes of the mapping named; an answer that is not whole comes with its source,
#: which gives bytes where these are wanted, and else events.
Answer = Callable[[str, Inbound, bool], Awaitable[tuple[Outbound, Any]]]


class MappingUpstream:
    """One mapping that another one calls, by its paths without its prefix."""

    def __init__(self, plan: UpstreamPlan, answer: Answer) -> None:
        assert plan.mapping is not None
        self._name = plan.name
        self._mapping = plan.mapping
        self._answer = answer

    async def send(self, request: UpstreamRequest, streams: bool = False) -> UpstreamReply:
        """Answer the request from the other mapping, keys and all, as over HTTP."""
        path, _, query = request.target.partition("?")
        request_id = first_value(request.headers, "x-request-id") or ""
        try:
            async with asyncio.timeout(request.timeout):
                content = await _content(request)
                inbound = Inbound(request.method, path, query, request.headers, content, request_id)
                inbound.is_proxied = True  # the outer mapping has decided what it sends
                outbound, source = await self._answer(self._mapping, inbound, request.raw)
        except TimeoutError:
            raise call_failed(self._name, "timeout", "total") from None
        headers, media_type = outbound.headers, outbound.content.media_type
        if media_type:
            headers = (*headers, ("content-type", media_type))
        if source is not None and not streams:
            return UpstreamReply(outbound.status, headers, await self._whole(source))
        return UpstreamReply(outbound.status, headers, outbound.content, source)

    async def _whole(self, source: Source) -> Content:
        try:
            return await source.content()
        finally:
            await source.aclose()

    async def aclose(self) -> None:
        """Nothing is held."""
