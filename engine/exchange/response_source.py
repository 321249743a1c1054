"""The body of an upstream's response, read as it arrives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from engine.exchange import Batch
from engine.http.messages import Content

#: Takes what comes; False where no more is wanted for now.
Feed: TypeAlias = Callable[[Any], bool]


class Source(Protocol):
    """The body of a reply that is read as it comes."""

    async def next(self) -> Batch:
        """What comes next; None at the end.

        Raises:
            ExchangeError: the upstream broke off, or was silent for too long.
        """
        ...

    async def pump(self, feed: Feed) -> bool:
        """Give `feed` what comes, in the moment in which it comes, until it wants no more for now; whether
        that was all.

        Raises:
            ExchangeError: as `next`.
        """
        ...

    async def content(self, limit: int) -> Content:
        """All that still comes.

        Raises:
            ExchangeError: as `next`; it is more than so many bytes.
        """
        ...

    async def aclose(self) -> None:
        """Read no more: an upstream that still sends is cut off."""
        ...


class Stepwise:
    """A source that is pumped by asking for one batch after the other."""

    next: Callable[[], Awaitable[Batch]]

    async def pump(self, feed: Feed) -> bool:
        """As `Source.pump`."""
        while (batch := await self.next()) is not None:
            if not feed(batch):
                return False
        return True
