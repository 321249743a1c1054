"""The events of an answer that is a stream, as they come.

Contract: what goes wrong with the upstream is told in the stream's own words, as its last events. Knows
asyncio, neither ASGI nor how an upstream is read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from engine.errors import ExchangeError, call_failed
from engine.exchange import Answered, Batch, EventStream
from engine.plan import Timeouts


class Flow:
    """The events of one answer."""

    __slots__ = ("_ends", "_first", "_script", "_source", "_stream", "_upstream")

    def __init__(self, answered: Answered) -> None:
        exchange, stream = answered.exchange, answered.outbound.stream
        self._stream: EventStream = stream
        self._first: list[Any] = stream.first
        self._script = deque(stream.script)
        self._source: Any = None if exchange.reply is None else exchange.reply.source
        self._upstream = exchange.upstream or ""
        self._ends = _end_of(answered)

    async def next(self) -> list[Any] | None:
        """The events that come next, at least one; None after the last."""
        known = await self._known()
        if known:
            return known
        while not self._stream.is_over:
            try:
                # An answer that came whole has its end behind what was taken of it.
                events = self._fed(None if self._source is None else await self._source.next())
            except ExchangeError as error:
                events = self._stream.fail(error)
            if events:
                return events
        return None

    async def pump(self, take: Callable[[list[Any]], bool]) -> bool:
        """Give `take` the events in the moment in which they come, until it wants no more for now; whether
        there may be more."""
        while known := await self._known():
            if not take(known):
                return True
        stream = self._stream
        if stream.is_over:
            return False

        def feed(batch: Batch) -> bool:
            events = self._fed(batch)
            return (not events or take(events)) and not stream.is_over

        try:
            is_all = self._source is None or await self._source.pump(feed)
            if is_all and not stream.is_over:
                feed(None)
        except ExchangeError as error:
            take(stream.fail(error))
        return not stream.is_over

    async def _known(self) -> list[Any]:
        """Events that were there before the answer began; none after the last of them."""
        if self._first:
            events, self._first = self._first, []
            return events
        if self._script:
            await asyncio.sleep(self._stream.plan.every)
            return [self._script.popleft()]
        return []

    def _fed(self, batch: Batch) -> list[Any]:
        """The events that a batch leads to; the last ones, where the stream has had its time."""
        stream = self._stream
        events = stream.feed(batch)
        if time.monotonic_ns() > self._ends and not stream.is_over:
            return [*events, *stream.fail(call_failed(self._upstream, "timeout", "stream"))]
        return events


def _end_of(answered: Answered) -> float:
    """When the stream of an answer must have come to its end, in ns of `time.monotonic_ns`."""
    mapping, exchange = answered.mapping, answered.exchange
    upstream = mapping.upstreams.get(exchange.upstream or "") if mapping is not None else None
    seconds = (upstream.timeouts if upstream is not None else Timeouts()).stream
    return exchange.started_ns + seconds * 1e9
