"""Sliding-window request counters in Redis, shared by several processes.

Contract: exceptions of the library and of its client propagate unchanged. Times are those of the processes'
hosts, whose clocks must be synchronized. Redis expires a counter once its window has passed without an
accepted request, so a clock that is set back blocks clients for at most that long. Imported only if Redis is
configured, because the library takes a tenth of the startup time. The only importer of limits.
"""

from __future__ import annotations

import time
from typing import Any

from limits import RateLimitItemPerSecond
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import ConfigurationError
from limits.storage import storage_from_string

from engine.plan import RatePlan


class RedisWindows:
    """Request counters in Redis.

    Raises:
        ValueError: the package `redis` is not installed.
    """

    def __init__(self, url: str) -> None:
        self._storage = _storage(url)
        self._limiter = MovingWindowRateLimiter(self._storage)

    async def hit(self, rate: RatePlan, subject: str) -> float | None:
        """Count a request; returns None, or if it exceeds the rate the seconds until one is allowed."""
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
        raise ValueError(
            "rate limits in Redis require the package 'redis': install dragoman[redis]"
        ) from None
