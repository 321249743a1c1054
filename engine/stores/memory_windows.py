"""Sliding-window request counters in the memory of this process.

Contract: exact, because no other task runs between check and count. Uses a monotonic clock. Expired counters
are removed periodically.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from engine.plan import RatePlan

#: The number of requests between two removals of expired counters.
_SWEEP: Final = 10_000

_Key = tuple[int, int, str, str]


class MemoryWindows:
    """Request counters, each with the times of its accepted requests.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: dict[_Key, deque[float]] = {}
        self._hits = 0

    def __len__(self) -> int:
        return len(self._times)

    async def hit(self, rate: RatePlan, subject: str) -> float | None:
        """Count a request; returns None, or if it exceeds the rate the seconds until one is allowed."""
        now = self._clock()
        self._sweep(now)
        times = self._times.setdefault((rate.limit, rate.seconds, rate.scope, subject), deque())
        while times and times[0] <= now - rate.seconds:
            times.popleft()
        if len(times) >= rate.limit:
            return times[0] + rate.seconds - now
        times.append(now)
        return None

    async def aclose(self) -> None:
        """Does nothing: there are no connections to close."""

    def _sweep(self, now: float) -> None:
        self._hits += 1
        if self._hits % _SWEEP == 0:
            expired = [key for key, times in self._times.items() if not times or times[-1] <= now - key[1]]
            for key in expired:
                del self._times[key]
