"""Reads of a response body with a timeout that loses no data.

Contract: a timeout does not cancel the read in progress; only closing does. Knows asyncio, not what is read.
"""

from __future__ import annotations

import asyncio
import contextlib

from engine.errors import ExchangeError
from engine.http.messages import Batch, Content, Feed, Source


class PendingRead:
    """A source with a read in progress: it returns the batch of that read first, then further ones."""

    def __init__(self, source: Source, read: asyncio.Task[Batch]) -> None:
        self._source = source
        self._read: asyncio.Task[Batch] | None = read

    async def next(self) -> Batch:
        """As `Source.next`."""
        read, self._read = self._read, None
        return await (self._source.next() if read is None else read)

    async def pump(self, feed: Feed) -> bool:
        """As `Source.pump`."""
        if self._read is not None:
            batch = await self.next()
            if batch is None:
                return True
            if not feed(batch):
                return False
        return await self._source.pump(feed)

    async def content(self, limit: int) -> Content:
        """As `Source.content`; call it only before anything was read."""
        return await self._source.content(limit)

    async def aclose(self) -> None:
        """As `Source.aclose`."""
        read, self._read = self._read, None
        if read is not None:
            await _stop(read)
        await self._source.aclose()


async def next_within(source: Source, seconds: float) -> Batch | PendingRead:
    """The next batch of a source, or a source that continues the read if none arrives within `seconds`."""
    read = asyncio.ensure_future(source.next())
    try:
        done, _ = await asyncio.wait((read,), timeout=seconds)
    except BaseException:
        await _stop(read)
        raise
    return read.result() if done else PendingRead(source, read)


async def _stop(read: asyncio.Task[Batch]) -> None:
    read.cancel()
    with contextlib.suppress(asyncio.CancelledError, ExchangeError):
        await read
