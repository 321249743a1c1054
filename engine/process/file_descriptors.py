"""The process's descriptors: how many there may be, and what is closed when they run out.

Contract: whatever holds some that can be missed registers a function that lets go of one of them; those that
were registered last are called first. For the thread of the event loop alone.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final

#: Errors that say that there is no descriptor left, in the process or in the system.
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE)

#: How many are to be free for what comes next.
_RESERVE: Final = 8
_MOST_FILES: Final = 65_536

#: Lets go of a descriptor, shortly; whether it could.
Release = Callable[[], bool]


class Descriptors:
    """The descriptors of the process.

    Attributes:
        most: how many there may be; None where the system has no bound, or none that is known.
        are_few: few are free, so that nothing should be kept that is not used.
    """

    def __init__(self) -> None:
        self.most: int | None = None
        self.are_few = False
        self._releases: dict[Release, None] = {}

    def take_all(self) -> int | None:
        """Raise the bound of the process as far as it may; the bound."""
        try:
            import resource
        except ImportError:
            return None
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        self.most = _MOST_FILES if soft == resource.RLIM_INFINITY else soft
        return self.most

    def register(self, release: Release) -> None:
        """Call a function when descriptors run out."""
        self._releases[release] = None

    def unregister(self, release: Release) -> None:
        """Call it no more."""
        self._releases.pop(release, None)

    def opened(self, number: int) -> None:
        """Note the number of a new one, and have one let go of where few are left: it is the lowest that was
        free, so a high one says so."""
        self.are_few = self.most is not None and number >= self.most - _RESERVE
        if self.are_few:
            self.release()

    def look(self) -> None:
        """See whether few are left, and have one let go of then; to be called a few times a second."""
        try:
            number = os.open(os.devnull, os.O_RDONLY)
        except OSError as error:
            self.are_few = error.errno in EXHAUSTED
            if self.are_few:
                self.release()
        else:
            os.close(number)
            self.opened(number)

    def release(self) -> bool:
        """Have one descriptor let go of; whether there was one."""
        return any(release() for release in reversed(list(self._releases)))


#: Those of this process.
DESCRIPTORS: Final = Descriptors()
