"""A deadline that is cheap to move: the timer is not rescheduled, but checks the deadline when it fires."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Seconds that a timer may fire early, because event loops have a resolution of milliseconds.
_EARLY = 0.002


class Alarm:
    """Calls `on_due` when the deadline passes. Times are those of the event loop.

    The owner may set `deadline` to None, which disables it.
    """

    __slots__ = ("_due", "_loop", "_on_due", "_timer", "deadline")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_due: Callable[[], None]) -> None:
        self._loop = loop
        self._on_due = on_due
        self.deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def set(self, deadline: float | None) -> None:
        """Set the deadline; None for no deadline."""
        self.deadline = deadline
        if deadline is None or (self._timer is not None and self._due <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = deadline
        self._timer = self._loop.call_at(deadline, self._look)

    def close(self) -> None:
        """Cancel the timer, and drop all references."""
        self.deadline = None
        self._on_due = _nothing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self.deadline is None:
            return
        if self._loop.time() < self.deadline - _EARLY:
            self.set(self.deadline)
        else:
            self.deadline = None
            self._on_due()


def _nothing() -> None:
    pass
