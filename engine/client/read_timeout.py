"""The body of a reply whose next batch is waited for at most for a time, and is not lost by that.

Contract: a read that is under way is never cut off but by closing. Knows asyncio, not what is read.
"""

from __future__ import annotations

import asyncio
import contextlib

from engine.errors import ExchangeError
from engine.http.messages import Batch, Content, Feed, Source


class Waiting:
    """A source one of whose reads is under way: that one comes first, then what the source gives."""

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
        """As `Source.content`; to be asked for before anything was read."""
        return await self._source.content(limit)

    async def aclose(self) -> None:
        """As `Source.aclose`."""
        read, self._read = self._read, None
        if read is not None:
            await _ended(read)
        await self._source.aclose()


async def within(source: Source, seconds: float) -> Batch | Waiting:
    """The next batch of a source, or a source that continues its read if none arrives within so many
    seconds."""
    read = asyncio.ensure_future(source.next())
    try:
        done, _ = await asyncio.wait((read,), timeout=seconds)
    except BaseException:
        await _ended(read)
        raise
    return read.result() if done else Waiting(source, read)


async def _ended(read: asyncio.Task[Batch]) -> None:
    read.cancel()
    with contextlib.suppress(asyncio.CancelledError, ExchangeError):
        await read
