"""The file descriptors of the process: their limit, and what to close when they run out.

Contract: an owner of descriptors that can be closed at any time registers a function that closes one of them.
The functions are called in reverse order of registration. Not thread-safe: for the event loop's thread only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final

#: Errors for running out of descriptors, in the process or in the system.
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE)

#: How many descriptors to hold in reserve.
_RESERVE: Final = 8
_MAX_FILES: Final = 65_536

#: Closes a descriptor within a few event loop iterations; returns whether there was one to close.
ReleaseFunction = Callable[[], bool]


class Descriptors:
    """The descriptors of the process.

    Attributes:
        limit: the maximum number; None if the system has no limit, or if it is unknown.
        are_scarce: few are free, so unused connections should be closed.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self.are_scarce = False
        self._releases: dict[ReleaseFunction, None] = {}

    def raise_limit(self) -> int | None:
        """Raise the limit of the process as far as permitted, and return it."""
        try:
            import resource
        except ImportError:
            return None
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        self.limit = _MAX_FILES if soft == resource.RLIM_INFINITY else soft
        return self.limit

    def register(self, release: ReleaseFunction) -> None:
        """Add a function to call when descriptors run out."""
        self._releases[release] = None

    def unregister(self, release: ReleaseFunction) -> None:
        """Remove a function."""
        self._releases.pop(release, None)

    def note_opened(self, number: int) -> None:
        """Note the number of a new descriptor, and close another one if few are left.

        The system assigns the lowest free number, so a high number means that few are free.
        """
        self.are_scarce = self.limit is not None and number >= self.limit - _RESERVE
        if self.are_scarce:
            self.release()

    def check(self) -> None:
        """Close a descriptor if few are left. Call this several times a second."""
        try:
            number = os.open(os.devnull, os.O_RDONLY)
        except OSError as error:
            self.are_scarce = error.errno in EXHAUSTED
            if self.are_scarce:
                self.release()
        else:
            os.close(number)
            self.note_opened(number)

    def release(self) -> bool:
        """Close one descriptor; returns whether there was one to close."""
        return any(release() for release in reversed(list(self._releases)))


#: The descriptors of this process.
DESCRIPTORS: Final = Descriptors()
