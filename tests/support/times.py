"""Timeouts of tests: a machine that is four times as slow, or pauses for two seconds, fails no test.

Contract: a timeout separates working code from a defect that waits for a deadline of ours, or for ever. It
measures nothing. A wait ends as soon as its condition holds, so a long timeout costs no time.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

#: Whether the heavy form of the tests runs; it needs an otherwise idle machine.
TORTURE = bool(os.environ.get("DRAGOMAN_TORTURE"))

#: Seconds to wait for an expected event. Less than the default timeout of a silent upstream, one minute.
PATIENCE = 30.0

#: Seconds for a process to start, or for a command to end.
START = 120.0

#: Seconds, less than any deadline that a defect would wait for.
SOON = 12.0

#: Seconds for what must happen within one, such as an upstream that sees its client disconnect.
A_SECOND = 1.0 if TORTURE else SOON


@contextlib.contextmanager
def time_limit(seconds: float = PATIENCE) -> Iterator[None]:
    """Raises `TimeoutError` in the block if it does not end in time.

    For the main thread and Python code only: detects endless loops and excessive running time. Windows has no
    such signal; there, the block is not limited.
    """
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def on_alarm(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not at its end after {seconds} s")

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
