"""Sources of response bodies that are read batch by batch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from engine.http.messages import Batch, Feed


class PumpByNext:
    """Implements `Source.pump` with `next`."""

    next: Callable[[], Awaitable[Batch]]

    async def pump(self, feed: Feed) -> bool:
        """As `Source.pump`."""
        while (batch := await self.next()) is not None:
            if not feed(batch):
                return False
        return True
