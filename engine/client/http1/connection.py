"""One connection to an upstream: one request at a time goes out, and its response comes in.

Contract: at most `room` bytes and one read more wait to be taken; then reading pauses. Whatever
cannot be followed by a sound response ends the connection: a failure, a response that was left, bytes out of
turn. Knows the event loop's transports, not who waits for connections.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any, Final

from engine.client.http1.deadline import Alarm
from engine.client.http1.errors import CallFailed
from engine.client.http1.response import InvalidResponse, ResponseReader

#: For who takes a response as it comes: what pieces are turned into is many times larger than they are.
MAX_BUFFERED: Final = 64 * 1024
#: For who takes it as a whole.
_WHOLE_BUFFERED: Final = 1024 * 1024
#: For how long, and over how many bytes, the end of a response is waited for that nobody wants any more.
_LINGER_SECONDS: Final = 0.05
_LINGER_BYTES: Final = 64 * 1024

_CAN_POLL: Final = hasattr(select, "poll")


class Connection(asyncio.Protocol):
    """A connection.

    Attributes:
        is_open: it is not closed, as far as is known.
        is_used: it has carried a response.
        is_sending: the body of a request is still on its way; its response may come later than usual.
        room: how many bytes are kept before reading pauses, and given at a time.
        total: when the whole response must have come, as a time of the event loop, or None.
        response: the one that is being received, or None between two.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        read_seconds: float,
        on_idle_lost: Callable[[Connection], None],
    ) -> None:
        self.is_open = False
        self.is_used = False
        self.is_sending = False
        self.room = MAX_BUFFERED
        self.total: float | None = None
        self.response: ResponseReader | None = None
        self._loop = loop
        self._read_seconds = read_seconds
        self._on_idle_lost = on_idle_lost
        self._on_ended: Callable[[Connection], None] | None = None
        self._error: CallFailed | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._feed: Callable[[bytes], bool] | None = None
        self._fault: Exception | None = None
        self._drained: asyncio.Future[None] | None = None
        self._transport: Any = None
        self._poll: Any = None
        self._is_paused = False

    # --- What the transport calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is up."""
        self._transport = transport
        # Not before: a connection that does not come up would never close its alarm, which holds it.
        self._alarm = Alarm(self._loop, self._due)
        self.is_open = True
        if _CAN_POLL:
            self._poll = select.poll()
            self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Bytes of the response; between two, they are nobody's."""
        response = self.response
        if response is None:
            self.abort()
            return
        try:
            response.feed(data)
        except InvalidResponse as error:
            self.fail(CallFailed("broken", str(error)))
            return
        if self._feed is not None:
            self._pour(response)
        if response.size >= self.room and not response.is_complete and self.is_open:
            # Here and not later: an event loop may go on reading until it is told not to.
            self._is_paused = True
            self._transport.pause_reading()
        if self._on_ended is not None:
            self._linger_on(response)
        elif self._waiter is not None and (self._feed is None or response.is_complete):
            self._wake()

    def eof_received(self) -> bool | None:
        """The upstream closed its side; with that ours is closed too."""
        self._closed("closed")
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self._closed(type(exc).__name__ if exc else "closed", was_cut=True)

    def pause_writing(self) -> None:
        """The upstream does not keep up with what is sent."""
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # --- A request and its response ------------------------------------------------------------------

    def is_sound(self) -> bool:
        """Whether it is open, and nothing has come while it was idle that the event loop has not seen yet."""
        return self.is_open and not (self._poll is not None and self._poll.poll(0))

    def begin(self, method: str, total: float | None) -> None:
        """Expect the response of a request that is now written."""
        self.response = ResponseReader(method)
        self.total = total
        self.room = MAX_BUFFERED
        self._alarm.deadline = None
        if not self.is_open:
            self._error = CallFailed("connect", "closed at once")

    def write(self, data: bytes | memoryview) -> None:
        """Send bytes, or keep them until they can be sent."""
        if self.is_open:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until more can be written.

        Raises:
            CallFailed: the call has failed, or the upstream has taken nothing for too long.
        """
        if self._drained is not None and self.is_open:
            timeout = CallFailed("timeout", "write")
            timer = self._loop.call_later(self._read_seconds, self.fail, timeout)
            try:
                await self._drained
            finally:
                timer.cancel()
        if self._error is not None:
            raise self._error

    def expect_whole(self, total: float | None) -> None:
        """The response is taken as a whole, by a time of the event loop."""
        self.total = total
        self.room = _WHOLE_BUFFERED

    def sent(self) -> None:
        """All of the request has been written."""
        self.is_sending = False
        if self._waiter is not None:
            self._alarm.set(self._deadline())

    async def head(self) -> ResponseReader:
        """The response, once its head has come.

        Raises:
            CallFailed: there is none.
        """
        response = self.response
        assert response is not None
        while not response.status:
            await self._wait()
        if self._error is not None and not response.chunks:
            # What follows the head is wrong, and nothing of the body has been given on.
            raise self._error
        return response

    async def next(self) -> bytes | None:
        """What of the body has come and was not taken, up to `room` bytes; None at its end.

        Raises:
            CallFailed: it breaks off.
        """
        response = self.response
        assert response is not None
        while not response.chunks:
            if response.is_complete:
                return None
            await self._wait()
        data = response.take(self.room)
        if not response.chunks:
            self._resume()
        return data

    async def pump(self, feed: Callable[[bytes], bool]) -> bool:
        """Give `feed` the body, in the moment in which it comes, until it wants no more for now; whether that
        was all.

        Raises:
            CallFailed: the body breaks off.
            Exception: what `feed` raised.
        """
        response = self.response
        assert response is not None
        self._feed = feed
        try:
            self._pour(response)
            while self._feed is not None and not response.is_complete:
                self._resume()
                await self._wait()
        finally:
            self._feed = None
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        return response.is_complete and not response.chunks

    def _pour(self, response: ResponseReader) -> None:
        """Give what has come to who takes it at once."""
        try:
            while response.chunks and self._feed is not None:
                if not self._feed(response.take(self.room)):
                    self._feed = None
        except Exception as error:
            self._feed, self._fault = None, error
        if self._feed is not None and self._waiter is not None:
            self._alarm.set(self._deadline())

    # --- Its end -------------------------------------------------------------------------------------

    def end(self) -> bool:
        """Let go of the response; whether the connection can be used for another one."""
        response, self.response = self.response, None
        if response is None:
            return self.is_open
        response.close()
        self._alarm.deadline = None
        self.is_used = True
        if not response.is_complete or response.is_last or response.has_surplus or self._has_unsent():
            self.abort()
        self._resume()
        return self.is_open

    def _has_unsent(self) -> bool:
        return self.is_sending or (self.is_open and self._transport.get_write_buffer_size() > 0)

    def linger(self, on_ended: Callable[[Connection], None]) -> None:
        """What still comes of the response is not wanted. Its end is waited for a little, as it often follows
        the closing word of a stream at once; then, or when it does not come, `on_ended` is called."""
        response = self.response
        if response is None or response.is_complete or not self.is_open:
            on_ended(self)
            return
        self._on_ended = on_ended
        self._alarm.set(self._loop.time() + _LINGER_SECONDS)
        self._linger_on(response)
        self._resume()

    def _linger_on(self, response: ResponseReader) -> None:
        if response.is_complete:
            self._ended()
        elif response.size > _LINGER_BYTES:
            self.abort()

    def _ended(self) -> None:
        on_ended, self._on_ended = self._on_ended, None
        if on_ended is not None:
            on_ended(self)

    def keep_for(self, seconds: float) -> None:
        """Close it then, if it is still idle."""
        self._alarm.set(self._loop.time() + seconds)

    def fail(self, error: CallFailed) -> None:
        """End the call: who waits for its response is told."""
        if self._error is None:
            self._error = error
        self.abort()
        self._wake()

    def abort(self) -> None:
        """Close at once."""
        if not self.is_open:
            return
        self.is_open = False
        self._transport.abort()
        # One whose connecting was cancelled keeps its protocol.
        self._transport = None
        self._alarm.close()
        self.resume_writing()
        if self._on_ended is not None:
            self._ended()
        elif self.response is None:
            self._on_idle_lost(self)

    def _closed(self, cause: str, was_cut: bool = False) -> None:
        response = self.response
        if response is not None and not response.is_complete and self._error is None:
            try:
                if not was_cut:
                    response.eof()
            except InvalidResponse as error:
                cause = str(error)
            if not response.is_complete:
                self._error = CallFailed("broken", cause, is_silent=not response.has_begun)
        self.abort()
        self._wake()

    # --- Waiting -------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        """Until something has happened.

        Raises:
            CallFailed: that was a failure.
        """
        if self._error is not None:
            raise self._error
        self._alarm.set(self._deadline())
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._waiter = None
            self._alarm.deadline = None

    def _deadline(self) -> float | None:
        if self.is_sending:
            return self.total
        read = self._loop.time() + self._read_seconds
        return read if self.total is None else min(read, self.total)

    def _due(self) -> None:
        if self._waiter is None:
            self.abort()
            return
        is_total = self.total is not None and self._loop.time() >= self.total - 0.002
        self.fail(CallFailed("timeout", "total" if is_total else "read"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _resume(self) -> None:
        if self._is_paused and self.is_open:
            self._is_paused = False
            self._transport.resume_reading()
