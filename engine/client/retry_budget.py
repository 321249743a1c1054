"""Retry budgets: at most a fifth of an upstream's calls may be retried, so that retries do not flood it.

Contract: over any period in which a fifth of the calls is at least `RESERVE`, an upstream receives at most
1.2 times the calls that it would receive without retries. Must not know why a call is retried.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

#: Retries per first call.
SHARE: Final = 0.2
#: Retries that are always allowed, however few calls there were.
RESERVE: Final = 10
#: The length of a window in seconds. The current and the previous window count.
WINDOW: Final = 10.0


class RetryBudget:
    """The retry budget of one upstream. `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._calls = self._repeated = 0
        self._calls_before = self._repeated_before = 0

    def record_call(self) -> None:
        """Record a call, first or retried."""
        self._roll_window()
        self._calls += 1

    def acquire(self) -> bool:
        """Take one retry; returns False if the budget is used up."""
        self._roll_window()
        repeated = self._repeated + self._repeated_before
        first = self._calls + self._calls_before - repeated
        if repeated + 1 > max(RESERVE, SHARE * first):
            return False
        self._repeated += 1
        return True

    def _roll_window(self) -> None:
        """Start a new window if the current one has ended."""
        elapsed = self._clock() - self._since
        if elapsed < WINDOW:
            return
        is_next = elapsed < 2 * WINDOW
        self._calls_before = self._calls if is_next else 0
        self._repeated_before = self._repeated if is_next else 0
        self._calls = self._repeated = 0
        self._since += elapsed // WINDOW * WINDOW
