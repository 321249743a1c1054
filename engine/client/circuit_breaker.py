"""The breaker of an upstream: one that fails again and again is left alone for a while.

Contract: refusing a call costs no wait. While it is open one call is let through each time that its plan's
seconds are over; the first answer below 500 closes it. Must not know how anything is sent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from engine.errors import call_failed
from engine.observability import logs, metrics
from engine.plan import BreakerPlan

#: The ways of a call to fail that tell of the upstream, not of us.
_TELLING: Final = ("connect", "timeout", "broken")


class Breaker:
    """The breaker of one upstream. `clock` gives seconds."""

    def __init__(
        self, mapping: str, upstream: str, plan: BreakerPlan, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._upstream = upstream
        self._plan = plan
        self._clock = clock
        self._failures = 0
        self._until: float | None = None
        self._mapping = mapping
        metrics.set_breaker(mapping, upstream, False)

    @property
    def is_open(self) -> bool:
        """Whether calls are refused."""
        return self._until is not None

    def check(self) -> None:
        """Let a call through.

        Raises:
            ExchangeError: `upstream_unavailable`, with `Retry-After`: the breaker is open.
        """
        if self._until is None:
            return
        left = self._until - self._clock()
        if left > 0:
            error = call_failed(self._upstream, "open", f"{self._failures} failures in a row")
            error.headers = (("retry-after", str(math.ceil(left))),)
            raise error
        # This call is the trial; the next is not before it has had as long.
        self._until = self._clock() + self._plan.open

    def note_status(self, status: int) -> None:
        """A call was answered."""
        if status >= 500:
            self._fail()
            return
        self._failures = 0
        if self._until is not None:
            self._until = None
            self._tell()

    def note_failure(self, how: str | None) -> None:
        """A call was not answered."""
        if how in _TELLING:
            self._fail()

    def _fail(self) -> None:
        self._failures += 1
        if self._until is None and self._failures >= self._plan.failures:
            self._until = self._clock() + self._plan.open
            self._tell()

    def _tell(self) -> None:
        metrics.set_breaker(self._mapping, self._upstream, self.is_open)
        logs.info("breaker", upstream=self._upstream, open=self.is_open, failures=self._failures)
