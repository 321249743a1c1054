"""How many requests clients may make: counted in this process, or in a storage that several share.

Contract: exact, also for requests that come at the same time. A storage that fails, or is slow, lets
requests through: it is told once, counted, and asked again after a second.
The only importer of limits.
"""

from __future__ import annotations

import asyncio
import bisect
import math
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import ConfigurationError
from limits.storage import storage_from_string

from engine.errors import ExchangeError
from engine.plan import RatePlan
from engine.runtime import logs, metrics

MEMORY: Final = "memory://"
_SCHEMES: Final = ("redis://", "rediss://", "redis+unix://")
#: Seconds that a storage may take, and after which one that failed is asked again.
_PATIENCE: Final = 0.5
_PAUSE: Final = 1.0
#: After how many requests counters are looked through for those that are over.
_SWEEP: Final = 10_000

#: A rate, and whose requests are counted.
Counter = tuple[RatePlan, str]


class RateLimits:
    """Counters of requests.

    Args:
        storage: `memory://`, or the URL of a Redis.

    Raises:
        ValueError: it is no URL of these, or the package for it is not installed.
    """

    def __init__(self, storage: str = MEMORY) -> None:
        self._storage = _storage(storage)
        self._limiter = MovingWindowRateLimiter(self._storage)
        self._is_down = False
        self._again_at = 0.0

    async def admit(self, counters: Iterable[Counter]) -> None:
        """Count a request.

        Raises:
            ExchangeError: `rate_limited`, with `Retry-After`: there were too many.
        """
        if self._is_down and time.monotonic() < self._again_at:
            metrics.limits_failed()
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
        item = RateLimitItemPerSecond(rate.limit, rate.seconds, namespace="DRAGOMAN")
        if await self._limiter.hit(item, rate.scope, subject):
            return
        reset = (await self._limiter.get_window_stats(item, rate.scope, subject)).reset_time
        wait = min(max(1, math.ceil(reset - time.time())), rate.seconds)
        message = f"more than {rate.limit} requests in {rate.seconds} s; try again in {wait} s"
        raise ExchangeError("rate_limited", message, headers=(("retry-after", str(wait)),))

    def _failed(self, cause: str) -> None:
        metrics.limits_failed()
        self._again_at = time.monotonic() + _PAUSE
        if not self._is_down:
            self._is_down = True
            logs.caution("limits_storage", works=False, cause=cause)

    def _worked(self) -> None:
        if self._is_down:
            self._is_down = False
            logs.event("limits_storage", works=True)

    async def aclose(self) -> None:
        """Close the connections to the storage."""
        bridge = getattr(self._storage, "bridge", None)
        if bridge is not None:
            await bridge.storage.aclose()


def _storage(url: str) -> Any:
    if url == MEMORY:
        return _Windows()
    if not url.startswith(_SCHEMES):
        raise ValueError("the storage of limits is memory://, redis://, rediss:// or redis+unix://")
    try:
        return storage_from_string(f"async+{url}", implementation="redispy")
    except ConfigurationError:
        raise ValueError("limits in Redis need the package 'redis': install dragoman[redis]") from None


class _Windows(MemoryStorage):
    """Times of requests by counter. The library's own storage looks through all counters at each request, in
    a thread for each; this one now and then."""

    STORAGE_SCHEME: Final = ["async+dragoman"]  # type: ignore[misc]

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[str, tuple[int, deque[float]]] = {}
        self._hits = 0

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a request, unless there were `limit` in the last `expiry` seconds."""
        now = time.time()
        self._sweep(now)
        _, times = self._windows.setdefault(key, (expiry, deque()))
        while times and times[0] <= now - expiry:
            times.popleft()
        if len(times) + amount > limit:
            return False
        times.extend([now] * amount)
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest request that counts was made, and how many count."""
        now = time.time()
        times = self._windows.get(key, (expiry, deque()))[1]
        first = bisect.bisect_right(times, now - expiry)
        return (times[first] if first < len(times) else now), len(times) - first

    def _sweep(self, now: float) -> None:
        self._hits += 1
        if self._hits % _SWEEP == 0:
            over = [
                k for k, (expiry, times) in self._windows.items() if not times or times[-1] <= now - expiry
            ]
            for key in over:
                del self._windows[key]
