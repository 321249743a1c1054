"""The circuit breaker of an upstream: it rejects calls after repeated failures.

Contract: a rejected call fails immediately. While the breaker is open, it allows one trial call each time the
`open` seconds of its plan have passed; the first response with a status below 500 closes it.
Must not know how a call is sent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from engine.errors import call_failed
from engine.observability import logs, metrics
from engine.plan import BreakerPlan

#: The kinds of failed calls that are caused by the upstream, not by this proxy.
_UPSTREAM_FAILURES: Final = ("connect", "timeout", "broken")


class CircuitBreaker:
    """The circuit breaker of one upstream. `clock` returns monotonic seconds."""

    def __init__(
        self, mapping: str, upstream: str, plan: BreakerPlan, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._upstream = upstream
        self._plan = plan
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None
        self._mapping = mapping
        metrics.set_breaker(mapping, upstream, False)

    @property
    def is_open(self) -> bool:
        """Whether the breaker rejects calls."""
        return self._open_until is not None

    def check(self) -> None:
        """Check that a call is allowed.

        Raises:
            ExchangeError: `upstream_unavailable`, with `Retry-After`: the breaker is open.
        """
        if self._open_until is None:
            return
        left = self._open_until - self._clock()
        if left > 0:
            error = call_failed(self._upstream, "open", f"{self._failures} failures in a row")
            error.headers = (("retry-after", str(math.ceil(left))),)
            raise error
        # This call is the trial; the next one is allowed after the same time.
        self._open_until = self._clock() + self._plan.open

    def record_status(self, status: int) -> None:
        """Record a call that received a response."""
        if status >= 500:
            self._fail()
            return
        self._failures = 0
        if self._open_until is not None:
            self._open_until = None
            self._report()

    def record_failure(self, how: str | None) -> None:
        """Record a call that failed without a response; `how` is a key of `CALL_FAILURES`."""
        if how in _UPSTREAM_FAILURES:
            self._fail()

    def _fail(self) -> None:
        self._failures += 1
        if self._open_until is None and self._failures >= self._plan.failures:
            self._open_until = self._clock() + self._plan.open
            self._report()

    def _report(self) -> None:
        metrics.set_breaker(self._mapping, self._upstream, self.is_open)
        logs.info("breaker", upstream=self._upstream, open=self.is_open, failures=self._failures)
