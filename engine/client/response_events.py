"""The events of a streaming response.

Contract: an upstream error becomes an in-band error: the last events of the stream. Other requests are not
delayed: long batches are translated in a thread, and many events are returned in parts.
Knows asyncio, neither ASGI nor how an upstream is read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from engine.client.worker_threads import LONG_BATCH, LONG_BODY, MAX_EVENTS, in_thread, takes_long
from engine.errors import ExchangeError, call_failed
from engine.exchange import EventStream, ExchangeResult
from engine.http.messages import Batch
from engine.plan import DEFAULT_TIMEOUTS

#: More bytes without an event may be a long event.
_LONG_EVENT: Final = 8 * LONG_BATCH


class ResponseEvents:
    """The events of one response."""

    __slots__ = (
        "_deadline_ns",
        "_deferred",
        "_has_ended",
        "_ready",
        "_script",
        "_since_event",
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
        self._deadline_ns = _deadline_of(result)
        self._deferred: Batch = None
        self._has_ended = self._source is None
        # Bytes of the stream, and bytes since the last event.
        self._size = self._since_event = 0

    async def next(self) -> list[Any] | None:
        """The next events, at least one; None at the end."""
        while True:
            available = await self._available()
            if available:
                return available
            if self._stream.is_over:
                return None
            try:
                batch = None if self._has_ended else await self._source.next()
            except ExchangeError as error:
                self._ready.extend(self._stream.fail(error))
            else:
                self._has_ended = batch is None
                self._ready.extend(await self._translate_fairly(batch))

    async def pump(self, take: Callable[[list[Any]], bool]) -> bool:
        """Pass events to `take` as soon as they arrive, until it returns False. Returns whether there may be
        more."""
        while available := await self._available():
            if not take(available):
                return True
        stream = self._stream
        if stream.is_over:
            return False

        def feed(batch: bytes | list[Any]) -> bool:
            if (len(batch) > LONG_BATCH or self._since_event) and self._takes_long(batch):
                self._deferred = batch
                return False
            events = self._translate(batch)
            if len(events) > MAX_EVENTS:
                self._ready.extend(events)
                return False
            return (not events or take(events)) and not stream.is_over

        try:
            self._has_ended = self._has_ended or await self._source.pump(feed)
        except ExchangeError as error:
            self._ready.extend(stream.fail(error))
            return True
        if self._deferred is not None:
            deferred, self._deferred = self._deferred, None
            self._ready.extend(await self._translate_fairly(deferred))
        elif self._has_ended and not stream.is_over and not self._ready:
            # A complete response can end without a further batch.
            self._ready.extend(await self._translate_fairly(None))
        return bool(self._ready) or not stream.is_over

    async def _available(self) -> list[Any]:
        """Events that are available without a read, at most `MAX_EVENTS`; empty if there are none."""
        if self._ready:
            ready = self._ready
            if len(ready) <= MAX_EVENTS:
                events = list(ready)
                ready.clear()
                return events
            await asyncio.sleep(0)
            return [ready.popleft() for _ in range(MAX_EVENTS)]
        if self._script:
            await asyncio.sleep(self._stream.plan.every)
            return [self._script.popleft()]
        return []

    def _takes_long(self, batch: Batch) -> bool:
        """Whether the translation of a batch takes long; for the end, the size of the whole stream counts."""
        if batch is None:
            return self._size > LONG_BODY
        return self._since_event > _LONG_EVENT or takes_long(batch)

    async def _translate_fairly(self, batch: Batch) -> list[Any]:
        """The events that result from a batch; a long translation runs in a thread."""
        return await in_thread(self._translate, batch) if self._takes_long(batch) else self._translate(batch)

    def _translate(self, batch: Batch) -> list[Any]:
        """The events that result from a batch, and a timeout error if the deadline has passed."""
        stream = self._stream
        events = stream.feed(batch)
        if batch is not None:
            size = len(batch)
            self._size += size
            self._since_event = 0 if events else self._since_event + size
        if time.monotonic_ns() > self._deadline_ns and not stream.is_over:
            return [*events, *stream.fail(call_failed(self._upstream, "timeout", "stream"))]
        return events


def _deadline_of(result: ExchangeResult) -> float:
    """The deadline of a stream, in ns of `time.monotonic_ns`."""
    mapping, exchange = result.mapping, result.exchange
    upstream = mapping.upstreams.get(exchange.upstream or "") if mapping is not None else None
    timeouts = upstream.timeouts if upstream is not None else DEFAULT_TIMEOUTS
    return exchange.started_ns + timeouts.stream * 1e9
