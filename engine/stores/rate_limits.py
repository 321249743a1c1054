"""How many requests clients may make: counted in this process, or in a storage that several share.

Contract: exact, also for requests that come at the same time. A storage that fails, or is slow, lets
requests through: it is told once, counted, and asked again after a second.
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
from engine.stores.memory_windows import Windows

MEMORY: Final = "memory://"
_SCHEMES: Final = ("redis://", "rediss://", "redis+unix://")
#: Seconds that a storage may take, and after which one that failed is asked again.
_PATIENCE: Final = 0.5
_PAUSE: Final = 1.0

#: A rate, and whose requests are counted.
Counter = tuple[RatePlan, str]


class _Storage(Protocol):
    """Where requests are counted."""

    async def hit(self, rate: RatePlan, subject: str) -> float | None:
        """Count a request; where there were too many, the seconds until one is over."""

    async def aclose(self) -> None:
        """Close what is open."""


class RateLimits:
    """Counters of requests.

    Args:
        storage: `memory://`, or the URL of a Redis.

    Raises:
        ValueError: it is no URL of these, or the package for it is not installed.
    """

    def __init__(self, storage: str = MEMORY) -> None:
        self._storage = _storage(storage)
        self._is_down = False
        self._again_at = 0.0

    async def admit(self, counters: Iterable[Counter]) -> None:
        """Count a request.

        Raises:
            ExchangeError: `rate_limited`, with `Retry-After`: there were too many.
        """
        if self._is_down and time.monotonic() < self._again_at:
            metrics.record_limits_storage_failure()
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                for rate, subject in counters:
                    await self._count(rate, subject)
        except ExchangeError:
            raise
        except Exception as error:
            # Clients of storages raise what they like; none of it must keep requests out.
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
        self._again_at = time.monotonic() + _PAUSE
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
        return Windows()
    if not url.startswith(_SCHEMES):
        raise ValueError("the storage of limits is memory://, redis://, rediss:// or redis+unix://")
    from engine.stores.redis_windows import SharedWindows

    return SharedWindows(url)
