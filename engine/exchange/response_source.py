"""The body of an upstream's response, read as it arrives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from engine.exchange import Batch
from engine.http.messages import Content

#: Receives batches; returns False to pause.
Feed: TypeAlias = Callable[[Any], bool]


class Source(Protocol):
    """The body of a response that is read as it arrives."""

    async def next(self) -> Batch:
        """The next batch; None at the end.

        Raises:
            ExchangeError: the upstream disconnected, or sent nothing for too long.
        """
        ...

    async def pump(self, feed: Feed) -> bool:
        """Pass batches to `feed` as soon as they arrive, until it returns False. Returns whether the body has
        ended.

        Raises:
            ExchangeError: as `next`.
        """
        ...

    async def content(self, limit: int) -> Content:
        """The rest of the body.

        Raises:
            ExchangeError: as `next`; the rest is larger than `limit` bytes.
        """
        ...

    async def aclose(self) -> None:
        """Stop reading; an upstream that is still sending is disconnected."""
        ...


class PumpByNext:
    """Implements `Source.pump` with `next`."""

    next: Callable[[], Awaitable[Batch]]

    async def pump(self, feed: Feed) -> bool:
        """As `Source.pump`."""
        while (batch := await self.next()) is not None:
            if not feed(batch):
                return False
        return True
