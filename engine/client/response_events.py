"""The events of an answer that is a stream, as they come.

Contract: what goes wrong with the upstream is told in the stream's own words, as its last events. Others get
their turn: a long piece of a stream is translated in a thread, and many events are given in parts. Knows
asyncio, neither ASGI nor how an upstream is read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from engine.client.worker_threads import LONG_BATCH, LONG_BODY, MANY_EVENTS, in_thread, is_long
from engine.errors import ExchangeError, call_failed
from engine.exchange import EventStream, ExchangeResult
from engine.http.messages import Batch
from engine.plan import Timeouts

#: So many bytes without an event may be one that is long.
_LONG_EVENT: Final = 8 * LONG_BATCH


class Flow:
    """The events of one answer."""

    __slots__ = (
        "_ends",
        "_has_ended",
        "_late",
        "_quiet",
        "_ready",
        "_script",
        "_size",
        "_source",
        "_stream",
        "_upstream",
    )

    def __init__(self, result: ExchangeResult, stream: EventStream) -> None:
        exchange = result.exchange
        self._stream = stream
        self._ready: deque[Any] = deque(stream.first)
        self._script = deque(stream.script)
        self._source: Any = None if exchange.upstream_response is None else exchange.upstream_response.source
        self._upstream = exchange.upstream or ""
        self._ends = _end_of(result)
        self._late: Batch = None
        self._has_ended = self._source is None
        # Bytes of the stream, and those since the last event.
        self._size = self._quiet = 0

    async def next(self) -> list[Any] | None:
        """The events that come next, at least one; None after the last."""
        while True:
            known = await self._known()
            if known:
                return known
            if self._stream.is_over:
                return None
            try:
                batch = None if self._has_ended else await self._source.next()
            except ExchangeError as error:
                self._ready.extend(self._stream.fail(error))
            else:
                self._has_ended = batch is None
                self._ready.extend(await self._fed_in_turn(batch))

    async def pump(self, take: Callable[[list[Any]], bool]) -> bool:
        """Give `take` the events in the moment in which they come, until it wants no more for now; whether
        there may be more."""
        while known := await self._known():
            if not take(known):
                return True
        stream = self._stream
        if stream.is_over:
            return False

        def feed(batch: bytes | list[Any]) -> bool:
            if (len(batch) > LONG_BATCH or self._quiet) and self._is_long(batch):
                self._late = batch
                return False
            events = self._fed(batch)
            if len(events) > MANY_EVENTS:
                self._ready.extend(events)
                return False
            return (not events or take(events)) and not stream.is_over

        try:
            self._has_ended = self._has_ended or await self._source.pump(feed)
        except ExchangeError as error:
            self._ready.extend(stream.fail(error))
            return True
        if self._late is not None:
            late, self._late = self._late, None
            self._ready.extend(await self._fed_in_turn(late))
        elif self._has_ended and not stream.is_over and not self._ready:
            # An answer that came whole has its end behind what was taken of it.
            self._ready.extend(await self._fed_in_turn(None))
        return bool(self._ready) or not stream.is_over

    async def _known(self) -> list[Any]:
        """Events that are there already, a part of them where they are many; none after the last of them."""
        if self._ready:
            ready = self._ready
            if len(ready) <= MANY_EVENTS:
                events = list(ready)
                ready.clear()
                return events
            await asyncio.sleep(0)
            return [ready.popleft() for _ in range(MANY_EVENTS)]
        if self._script:
            await asyncio.sleep(self._stream.plan.every)
            return [self._script.popleft()]
        return []

    def _is_long(self, batch: Batch) -> bool:
        """Whether it takes long to translate a batch; the end is as long as all of the stream."""
        if batch is None:
            return self._size > LONG_BODY
        return self._quiet > _LONG_EVENT or is_long(batch)

    async def _fed_in_turn(self, batch: Batch) -> list[Any]:
        """The events that a batch leads to; others are served meanwhile where that takes long."""
        return await in_thread(self._fed, batch) if self._is_long(batch) else self._fed(batch)

    def _fed(self, batch: Batch) -> list[Any]:
        """The events that a batch leads to; the last ones, where the stream has had its time."""
        stream = self._stream
        events = stream.feed(batch)
        if batch is not None:
            size = len(batch)
            self._size += size
            self._quiet = 0 if events else self._quiet + size
        if time.monotonic_ns() > self._ends and not stream.is_over:
            return [*events, *stream.fail(call_failed(self._upstream, "timeout", "stream"))]
        return events


def _end_of(result: ExchangeResult) -> float:
    """When the stream of an answer must have come to its end, in ns of `time.monotonic_ns`."""
    mapping, exchange = result.mapping, result.exchange
    upstream = mapping.upstreams.get(exchange.upstream or "") if mapping is not None else None
    seconds = (upstream.timeouts if upstream is not None else Timeouts()).stream
    return exchange.started_ns + seconds * 1e9
