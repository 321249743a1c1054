"""The connection pool of one upstream: a bounded number of connections, and a queue of waiters.

Contract: a connection holds a slot from before it is opened until it is closed. A free slot is assigned to
the longest waiter. Cancellation never leaks a slot. `acquire` and `release` take constant time, whatever the
number of connections.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from engine.client.http1.connection import Connection
from engine.client.http1.errors import CallFailed
from engine.process.file_descriptors import DESCRIPTORS

#: Opens a connection. Takes a deadline, and a function to call when the connection is lost while idle.
Connect = Callable[[float | None, Callable[[Connection], None]], Awaitable[Connection]]


class Pool:
    """A connection pool.

    Args:
        connect: opens a connection.
        size: the maximum number of connections.
        acquire_seconds: how many seconds to wait for a free connection.
        idle_seconds: how many seconds an idle connection remains open.
    """

    def __init__(self, connect: Connect, size: int, acquire_seconds: float, idle_seconds: float) -> None:
        self._connect = connect
        self._free_slots = size
        self._acquire_seconds = acquire_seconds
        self._idle_seconds = idle_seconds
        #: The most recently used connection is reused first, so that surplus connections expire.
        self._idle: dict[Connection, None] = {}
        self._busy: set[Connection] = set()
        #: Each waiter receives a connection, or None for a free slot.
        self._waiting: OrderedDict[asyncio.Future[Connection | None], None] = OrderedDict()
        self._is_closed = False
        DESCRIPTORS.register(self.close_idle)

    def take_idle(self) -> Connection | None:
        """An idle connection, or None."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.is_sound():
                self._busy.add(connection)
                return connection
            self._free_slots += 1
            connection.abort()
        return None

    async def acquire(self, deadline: float | None) -> Connection:
        """Acquire a connection; the caller must call `release`.

        Args:
            deadline: a time of the event loop, in addition to the timeouts for waiting and connecting.

        Raises:
            CallFailed: no connection was free in time, or connecting failed.
        """
        connection = self.take_idle()
        if connection is not None:
            return connection
        if self._free_slots:
            self._free_slots -= 1
        else:
            connection = await self._wait(deadline)
            if connection is not None and connection.is_sound():
                return connection
            if connection is not None:
                self._busy.discard(connection)
                connection.abort()
        return await self._open(deadline)

    async def replace(self, connection: Connection, deadline: float | None) -> Connection:
        """Replace a closed connection by a new one.

        Raises:
            CallFailed: connecting failed; the slot is free then.
        """
        self._busy.discard(connection)
        connection.end()
        connection.abort()
        return await self._open(deadline)

    async def _open(self, deadline: float | None) -> Connection:
        """Open a connection in a slot that the caller holds."""
        try:
            connection = await self._connect(deadline, self._idle_lost)
        except BaseException:
            self._release_slot()
            raise
        self._busy.add(connection)
        if self._is_closed:
            connection.abort()
        return connection

    async def _wait(self, deadline: float | None) -> Connection | None:
        loop = asyncio.get_running_loop()
        acquire_ends = loop.time() + self._acquire_seconds
        is_total = deadline is not None and deadline < acquire_ends
        waiter: asyncio.Future[Connection | None] = loop.create_future()
        self._waiting[waiter] = None
        failure = CallFailed("timeout", "total") if is_total else CallFailed("busy", "no free connection")
        timer = loop.call_at(min(acquire_ends, deadline or acquire_ends), self._time_out, waiter, failure)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._return_assigned(waiter)
            raise
        finally:
            timer.cancel()

    def _time_out(self, waiter: asyncio.Future[Connection | None], failure: CallFailed) -> None:
        if self._waiting.pop(waiter, waiter) is None and not waiter.done():
            waiter.set_exception(failure)

    def _return_assigned(self, waiter: asyncio.Future[Connection | None]) -> None:
        """Return what a cancelled waiter may have received at the same time."""
        self._waiting.pop(waiter, None)
        if not waiter.done() or waiter.cancelled() or waiter.exception() is not None:
            return
        connection = waiter.result()
        if connection is None:
            self._release_slot()
        else:
            self.release(connection)

    def release(self, connection: Connection) -> None:
        """Take back a connection, whether its response was read or not."""
        is_reusable = connection.end()
        is_wanted = bool(self._waiting) or not DESCRIPTORS.are_scarce
        if is_reusable and is_wanted and not self._is_closed:
            self._reuse(connection)
            return
        self._busy.discard(connection)
        connection.abort()
        self._release_slot()

    def _reuse(self, connection: Connection) -> None:
        waiter = self._next_waiting()
        if waiter is not None:
            waiter.set_result(connection)
            return
        self._busy.discard(connection)
        self._idle[connection] = None
        connection.close_after(self._idle_seconds)

    def _release_slot(self) -> None:
        waiter = self._next_waiting()
        if waiter is not None:
            waiter.set_result(None)
        else:
            self._free_slots += 1

    def _next_waiting(self) -> asyncio.Future[Connection | None] | None:
        while self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            if not waiter.done():
                return waiter
        return None

    def _idle_lost(self, connection: Connection) -> None:
        if self._idle.pop(connection, connection) is None:
            self._free_slots += 1

    def close_idle(self) -> bool:
        """Close the least recently used idle connection; returns whether there was one."""
        connection = next(iter(self._idle), None)
        if connection is not None:
            connection.abort()
        return connection is not None

    def close(self) -> None:
        """Close all connections; their users and all waiters receive an error."""
        self._is_closed = True
        DESCRIPTORS.unregister(self.close_idle)
        while self._waiting:
            self._time_out(next(iter(self._waiting)), CallFailed("broken", "closing"))
        for connection in (*self._idle, *self._busy):
            connection.fail(CallFailed("broken", "closing"))
