"""Requests counted in a Redis, for several processes.

Contract: what the library or its client raises comes through as it is. Times are those of the processes'
machines, whose clocks must agree. The server forgets a counter after its rate's time without a request that
was let through, so a clock that is set back keeps clients out for no longer than that. Imported where a Redis
was asked for: the library takes as long as a tenth of the start. The only importer of limits.
"""

from __future__ import annotations

import time
from typing import Any

from limits import RateLimitItemPerSecond
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import ConfigurationError
from limits.storage import storage_from_string

from engine.plan import RatePlan


class SharedWindows:
    """Counters of requests in a Redis.

    Raises:
        ValueError: the package for it is not installed.
    """

    def __init__(self, url: str) -> None:
        self._storage = _storage(url)
        self._limiter = MovingWindowRateLimiter(self._storage)

    async def hit(self, rate: RatePlan, subject: str) -> float | None:
        """Count a request; where there were too many, the seconds until one is over."""
        item = RateLimitItemPerSecond(rate.limit, rate.seconds, namespace="DRAGOMAN")
        if await self._limiter.hit(item, rate.scope, subject):
            return None
        reset = (await self._limiter.get_window_stats(item, rate.scope, subject)).reset_time
        return reset - time.time()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._storage.bridge.storage.aclose()


def _storage(url: str) -> Any:
    try:
        return storage_from_string(f"async+{url}", implementation="redispy")
    except ConfigurationError:
        raise ValueError("limits in Redis need the package 'redis': install dragoman[redis]") from None
