"""How long tests wait, on any machine: one that is four times as slow, or stops for two seconds, fails none.

Contract: a bound tells what works from what a defect would make wait (a deadline of ours, or for ever), and
measures nothing. A wait for what comes is over when it has come, so that a long bound costs no time.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

#: The heavy form of the tests: for a machine that does nothing else.
TORTURE = bool(os.environ.get("DRAGOMAN_TORTURE"))

#: Seconds to wait for what must come. Less than the minute that an upstream may be silent by default.
PATIENCE = 30.0

#: Seconds for a process to come up, or for a command to end.
START = 120.0

#: Seconds that are less than any deadline that a defect would wait for.
SOON = 12.0

#: Seconds for what is promised within one: an upstream that sees its client's leaving.
A_SECOND = 1.0 if TORTURE else SOON


@contextlib.contextmanager
def ending(seconds: float = PATIENCE) -> Iterator[None]:
    """What stands within must come to its end: a loop without one is broken off there, with `TimeoutError`.

    For the main thread, where Python's own code runs; it sees what hangs and what grows out of all measure.
    """

    def strike(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not at its end after {seconds} s")

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
