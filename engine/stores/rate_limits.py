"""Rate limits, with counters in this process or in a storage that several processes share.

Contract: exact, also for concurrent requests. Fails open: while the storage fails or is slow, requests are
allowed and counted by a metric. The failure is logged once, and the storage is retried after a second.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from typing import Final, Protocol

from engine.errors import ExchangeError
from engine.observability import logs, metrics
from engine.plan import RatePlan
from engine.stores.memory_windows import MemoryWindows

MEMORY: Final = "memory://"
_SCHEMES: Final = ("redis://", "rediss://", "redis+unix://")
#: Seconds that the storage may take, and seconds before a failed storage is retried.
_TIMEOUT: Final = 0.5
_RETRY_DELAY: Final = 1.0

#: A rate, and the subject whose requests are counted.
Counter = tuple[RatePlan, str]


class _Storage(Protocol):
    """A backend that counts requests."""

    async def hit(self, rate: RatePlan, subject: str) -> float | None:
        """Count a request; returns None, or if it exceeds the rate the seconds until one is allowed."""

    async def aclose(self) -> None:
        """Close connections."""


class RateLimits:
    """The rate limiter of a server.

    Args:
        storage: `memory://`, or the URL of a Redis server.

    Raises:
        ValueError: the URL is not supported, or the package for it is not installed.
    """

    def __init__(self, storage: str = MEMORY) -> None:
        self._storage = _storage(storage)
        self._is_down = False
        self._retry_at = 0.0

    async def admit(self, counters: Iterable[Counter]) -> None:
        """Count a request against all `counters`.

        Raises:
            ExchangeError: `rate_limited`, with `Retry-After`: the request exceeds a rate.
        """
        if self._is_down and time.monotonic() < self._retry_at:
            metrics.record_limits_storage_failure()
            return
        try:
            async with asyncio.timeout(_TIMEOUT):
                for rate, subject in counters:
                    await self._count(rate, subject)
        except ExchangeError:
            raise
        except Exception as error:
            # A storage client may raise any exception; none may block requests.
            self._failed(type(error).__name__)
        else:
            self._worked()

    async def _count(self, rate: RatePlan, subject: str) -> None:
        left = await self._storage.hit(rate, subject)
        if left is None:
            return
        wait = min(max(1, math.ceil(left)), rate.seconds)
        message = f"more than {rate.limit} requests in {rate.seconds} s; try again in {wait} s"
        raise ExchangeError("rate_limited", message, headers=(("retry-after", str(wait)),))

    def _failed(self, cause: str) -> None:
        metrics.record_limits_storage_failure()
        self._retry_at = time.monotonic() + _RETRY_DELAY
        if not self._is_down:
            self._is_down = True
            logs.warning("limits_storage", available=False, cause=cause)

    def _worked(self) -> None:
        if self._is_down:
            self._is_down = False
            logs.info("limits_storage", available=True)

    async def aclose(self) -> None:
        """Close the connections to the storage."""
        await self._storage.aclose()


def _storage(url: str) -> _Storage:
    if url == MEMORY:
        return MemoryWindows()
    if not url.startswith(_SCHEMES):
        raise ValueError(
            "the URL of the rate-limit storage must start with memory://, redis://, rediss:// or redis+unix://"
        )
    from engine.stores.redis_windows import RedisWindows

    return RedisWindows(url)
