"""How many of an upstream's calls may be made again: a fifth of them, so that what is down is not flooded.

Contract: over any time that is long enough for `RESERVE` to be a fifth of its calls, an upstream sees at most
1.2 times what it would see without retries. Must not know why a call is made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

#: Calls made again, for each that was made first.
SHARE: Final = 0.2
#: Calls that may be made again however few there were.
RESERVE: Final = 10
#: Counted are the calls of this window and of the one before it, in seconds.
WINDOW: Final = 10.0


class Budget:
    """The budget of one upstream. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._calls = self._repeated = 0
        self._calls_before = self._repeated_before = 0

    def note_call(self) -> None:
        """A call is made, for the first time or again."""
        self._turn()
        self._calls += 1

    def take(self) -> bool:
        """Whether a call may be made again; it then counts as such."""
        self._turn()
        repeated = self._repeated + self._repeated_before
        first = self._calls + self._calls_before - repeated
        if repeated + 1 > max(RESERVE, SHARE * first):
            return False
        self._repeated += 1
        return True

    def _turn(self) -> None:
        """Begin a window where one is over."""
        passed = self._clock() - self._since
        if passed < WINDOW:
            return
        is_next = passed < 2 * WINDOW
        self._calls_before = self._calls if is_next else 0
        self._repeated_before = self._repeated if is_next else 0
        self._calls = self._repeated = 0
        self._since += passed // WINDOW * WINDOW
