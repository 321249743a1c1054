"""Room for new connections: how many there may be, and which one makes room for another.

Contract: a connection that waits for a whole head (it has sent none yet, half of one, or lies idle after a
response) gives way to a new one, the one that has waited longest first; one that has a request never does.
Nothing here takes longer with more connections.
"""

from __future__ import annotations

from typing import Protocol


class Waiting(Protocol):
    """A connection that can be closed at any time."""

    def give_way(self) -> None:
        """Close it at once."""


class Room:
    """The connections of a server.

    Attributes:
        most: how many there may be, or None for no bound.
        waiting: those that wait for a whole head, in the order in which they began to. One that has a
            request, or is gone, is removed.
        closed: how many had to give way so far.
    """

    __slots__ = ("closed", "most", "waiting")

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.closed = 0
        self.waiting: dict[Waiting, None] = {}

    def make(self, count: int) -> None:
        """Make room where `count` connections, with a new one, are too many."""
        if self.most is not None and count > self.most:
            self.release()

    def release(self) -> bool:
        """Close the connection that has waited longest; whether there was one."""
        connection = next(iter(self.waiting), None)
        if connection is None:
            return False
        del self.waiting[connection]
        self.closed += 1
        connection.give_way()
        return True
