"""The events of an answer that is a stream, as they come.

Contract: what goes wrong with the upstream is told in the stream's own words, as its last events. Knows
asyncio, neither ASGI nor how an upstream is read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

from engine.errors import ExchangeError, call_failed
from engine.exchange import Answered, EventStream
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
        stream = self._stream
        if self._first:
            events, self._first = self._first, []
            return events
        if self._script:
            await asyncio.sleep(stream.plan.every)
            return [self._script.popleft()]
        while not stream.is_over:
            try:
                # An answer that came whole has its end behind what was taken of it.
                events = stream.feed(None if self._source is None else await self._source.next())
            except ExchangeError as error:
                events = stream.fail(error)
            if time.monotonic_ns() > self._ends and not stream.is_over:
                events = [*events, *stream.fail(call_failed(self._upstream, "timeout", "stream"))]
            if events:
                return events
        return None


def _end_of(answered: Answered) -> float:
    """When the stream of an answer must have come to its end, in ns of `time.monotonic_ns`."""
    mapping, exchange = answered.mapping, answered.exchange
    upstream = mapping.upstreams.get(exchange.upstream or "") if mapping is not None else None
    seconds = (upstream.timeouts if upstream is not None else Timeouts()).stream
    return exchange.started_ns + seconds * 1e9
