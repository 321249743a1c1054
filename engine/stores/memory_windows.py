"""Requests counted in this process: the times of those of the last seconds, for each counter.

Contract: exact, as nothing waits between looking and counting; on a clock that is never set. Counters that
are over are forgotten now and then.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from engine.plan import RatePlan

#: After how many requests counters are looked through for those that are over.
_SWEEP: Final = 10_000

_Key = tuple[int, int, str, str]


class Windows:
    """Counters of requests, each with the times of those that it let through.

    Args:
        clock: gives seconds, and never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: dict[_Key, deque[float]] = {}
        self._hits = 0

    def __len__(self) -> int:
        return len(self._times)

    async def hit(self, rate: RatePlan, subject: str) -> float | None:
        """Count a request; where there were too many, the seconds until one is over."""
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
        """Nothing is open here."""

    def _sweep(self, now: float) -> None:
        self._hits += 1
        if self._hits % _SWEEP == 0:
            over = [key for key, times in self._times.items() if not times or times[-1] <= now - key[1]]
            for key in over:
                del self._times[key]
