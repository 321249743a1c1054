"""The limit on open connections: which connection to close when a new one exceeds it.

Contract: only connections that wait for a complete request head are closed (new, with a partial head, or idle
after a response), in the order in which they began to wait. A connection with a request is never closed. The
cost of each operation does not depend on the number of connections.
"""

from __future__ import annotations

from typing import Protocol


class WaitingConnection(Protocol):
    """A connection that can be closed at any time."""

    def close_idle(self) -> None:
        """Close it at once."""


class ConnectionLimit:
    """The connection limit of a server.

    Attributes:
        max_connections: the maximum number of connections, or None for no limit.
        waiting: the connections that wait for a complete request head, in the order in which they began to
            wait. A connection removes itself when it has a request or is closed.
        closed_count: the number of connections closed because of the limit.
    """

    __slots__ = ("closed_count", "max_connections", "waiting")

    def __init__(self, max_connections: int | None = None) -> None:
        self.max_connections = max_connections
        self.closed_count = 0
        self.waiting: dict[WaitingConnection, None] = {}

    def enforce(self, count: int) -> None:
        """Close a waiting connection if `count`, the number with the new connection, exceeds the limit."""
        if self.max_connections is not None and count > self.max_connections:
            self.release()

    def release(self) -> bool:
        """Close the connection that has waited longest; returns whether there was one."""
        connection = next(iter(self.waiting), None)
        if connection is None:
            return False
        del self.waiting[connection]
        self.closed_count += 1
        connection.close_idle()
        return True
