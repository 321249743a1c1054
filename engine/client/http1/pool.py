"""The connections to one upstream: a bounded number of them, and a queue of who waits for one.

Contract: a connection holds a place from before it is made until it is gone, and a place that becomes free
goes to who has waited longest. Whoever is cancelled, at whichever point, leaves no place behind. Taking and
giving back cost the same however many connections there are; nothing looks through them all.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from engine.client.http1.connection import Connection
from engine.client.http1.errors import CallFailed
from engine.process.file_descriptors import DESCRIPTORS

#: Makes a connection; it is given the deadline, and what to call when the connection is lost while idle.
Connect = Callable[[float | None, Callable[[Connection], None]], Awaitable[Connection]]


class Pool:
    """Connections.

    Args:
        connect: makes one.
        places: how many there may be.
        patience: for how many seconds to wait for a place.
        idle_seconds: how long a connection that is not used is kept.
    """

    def __init__(self, connect: Connect, places: int, patience: float, idle_seconds: float) -> None:
        self._connect = connect
        self._free = places
        self._patience = patience
        self._idle_seconds = idle_seconds
        #: The one that was used last is used first, so that those that are not needed expire.
        self._idle: dict[Connection, None] = {}
        self._busy: set[Connection] = set()
        #: Each is given a connection, or None for a place.
        self._waiting: OrderedDict[asyncio.Future[Connection | None], None] = OrderedDict()
        self._is_closed = False
        DESCRIPTORS.register(self.close_idle)

    def take(self) -> Connection | None:
        """A connection that is there, at once."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.is_sound():
                self._busy.add(connection)
                return connection
            self._free += 1
            connection.abort()
        return None

    async def acquire(self, deadline: float | None) -> Connection:
        """A connection, which is to be given back by `release`.

        Args:
            deadline: a time of the event loop, beside the times for waiting and connecting.

        Raises:
            CallFailed: none was free in time, or none came up.
        """
        connection = self.take()
        if connection is not None:
            return connection
        if self._free:
            self._free -= 1
        else:
            connection = await self._wait(deadline)
            if connection is not None and connection.is_sound():
                return connection
            if connection is not None:
                self._busy.discard(connection)
                connection.abort()
        return await self._open(deadline)

    async def renew(self, connection: Connection, deadline: float | None) -> Connection:
        """A new connection in the place of one that is gone.

        Raises:
            CallFailed: none came up; the place is free then.
        """
        self._busy.discard(connection)
        connection.end()
        connection.abort()
        return await self._open(deadline)

    async def _open(self, deadline: float | None) -> Connection:
        """Fill a place that is ours."""
        try:
            connection = await self._connect(deadline, self._idle_lost)
        except BaseException:
            self._leave_place()
            raise
        self._busy.add(connection)
        if self._is_closed:
            connection.abort()
        return connection

    async def _wait(self, deadline: float | None) -> Connection | None:
        loop = asyncio.get_running_loop()
        patience_ends = loop.time() + self._patience
        is_total = deadline is not None and deadline < patience_ends
        waiter: asyncio.Future[Connection | None] = loop.create_future()
        self._waiting[waiter] = None
        failure = CallFailed("timeout", "total") if is_total else CallFailed("busy", "no free connection")
        timer = loop.call_at(min(patience_ends, deadline or patience_ends), self._give_up, waiter, failure)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._return_gift(waiter)
            raise
        finally:
            timer.cancel()

    def _give_up(self, waiter: asyncio.Future[Connection | None], failure: CallFailed) -> None:
        if self._waiting.pop(waiter, waiter) is None and not waiter.done():
            waiter.set_exception(failure)

    def _return_gift(self, waiter: asyncio.Future[Connection | None]) -> None:
        """Who waited was cancelled, and may have been given something at the same time."""
        self._waiting.pop(waiter, None)
        if not waiter.done() or waiter.cancelled() or waiter.exception() is not None:
            return
        connection = waiter.result()
        if connection is None:
            self._leave_place()
        else:
            self.release(connection)

    def release(self, connection: Connection) -> None:
        """Take a connection back, its response read or not."""
        is_reusable = connection.end()
        may_keep = bool(self._waiting) or not DESCRIPTORS.are_few
        if is_reusable and may_keep and not self._is_closed:
            self._give_back(connection)
            return
        self._busy.discard(connection)
        connection.abort()
        self._leave_place()

    def _give_back(self, connection: Connection) -> None:
        waiter = self._next_waiting()
        if waiter is not None:
            waiter.set_result(connection)
            return
        self._busy.discard(connection)
        self._idle[connection] = None
        connection.keep_for(self._idle_seconds)

    def _leave_place(self) -> None:
        waiter = self._next_waiting()
        if waiter is not None:
            waiter.set_result(None)
        else:
            self._free += 1

    def _next_waiting(self) -> asyncio.Future[Connection | None] | None:
        while self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            if not waiter.done():
                return waiter
        return None

    def _idle_lost(self, connection: Connection) -> None:
        if self._idle.pop(connection, connection) is None:
            self._free += 1

    def close_idle(self) -> bool:
        """Close the connection that has not been used for the longest; whether there was one."""
        connection = next(iter(self._idle), None)
        if connection is not None:
            connection.abort()
        return connection is not None

    def close(self) -> None:
        """Close all connections; who uses one, or waits, is told."""
        self._is_closed = True
        DESCRIPTORS.unregister(self.close_idle)
        while self._waiting:
            self._give_up(next(iter(self._waiting)), CallFailed("broken", "closing"))
        for connection in (*self._idle, *self._busy):
            connection.fail(CallFailed("broken", "closing"))
