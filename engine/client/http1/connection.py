"""One connection to an upstream, with one request and response at a time.

Contract: buffers at most `max_buffered` bytes and one more read; then reading pauses. The connection is
closed if it cannot carry another response safely: after a failure, an abandoned response or unexpected bytes.
Knows the event loop's transports, not the pool.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any, Final

from engine.client.http1.deadline import Alarm
from engine.client.http1.errors import CallFailed
from engine.client.http1.response import InvalidResponse, ResponseReader

#: For a streaming response. Small, because translated pieces are many times larger.
MAX_BUFFERED: Final = 64 * 1024
#: For a complete response.
_COMPLETE_MAX_BUFFERED: Final = 1024 * 1024
#: How long, and for how many bytes, to wait for the end of an abandoned response.
_LINGER_SECONDS: Final = 0.05
_LINGER_BYTES: Final = 64 * 1024

_CAN_POLL: Final = hasattr(select, "poll")


class Connection(asyncio.Protocol):
    """A connection.

    Attributes:
        is_open: the connection is not known to be closed.
        is_used: it has carried a response.
        is_sending: a request body is being sent, so the read timeout does not apply.
        max_buffered: how many bytes are buffered before reading pauses, and returned at a time.
        total: the deadline of the complete response, as a time of the event loop, or None.
        response: the response being received, or None if the connection is idle.
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
        self.max_buffered = MAX_BUFFERED
        self.total: float | None = None
        self.response: ResponseReader | None = None
        self._loop = loop
        self._read_seconds = read_seconds
        self._on_idle_lost = on_idle_lost
        self._on_ended: Callable[[Connection], None] | None = None
        self._error: CallFailed | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._feed: Callable[[bytes], bool] | None = None
        self._feed_error: Exception | None = None
        self._drained: asyncio.Future[None] | None = None
        self._transport: Any = None
        self._poll: Any = None
        self._is_paused = False

    # --- What the transport calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is established."""
        self._transport = transport
        # Not earlier: a connection that fails would never close its alarm, which holds a reference to it.
        self._alarm = Alarm(self._loop, self._deadline_passed)
        self.is_open = True
        if _CAN_POLL:
            self._poll = select.poll()
            self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Bytes of the response; if there is none, they are unexpected."""
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
            self._push(response)
        if response.size >= self.max_buffered and not response.is_complete and self.is_open:
            # Immediately, because the event loop may continue to read otherwise.
            self._is_paused = True
            self._transport.pause_reading()
        if self._on_ended is not None:
            self._linger_on(response)
        elif self._waiter is not None and (self._feed is None or response.is_complete):
            self._wake()

    def eof_received(self) -> bool | None:
        """The upstream closed its side; close ours as well."""
        self._closed("closed")
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection was closed, by either side."""
        self._closed(type(exc).__name__ if exc else "closed", was_lost=True)

    def pause_writing(self) -> None:
        """The upstream reads too slowly."""
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """The upstream has caught up."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # --- A request and its response ------------------------------------------------------------------

    def is_sound(self) -> bool:
        """Whether the connection is open, without unread bytes or an EOF that the event loop has not seen."""
        return self.is_open and not (self._poll is not None and self._poll.poll(0))

    def begin(self, method: str, total: float | None) -> None:
        """Expect the response of the request that is written next."""
        self.response = ResponseReader(method)
        self.total = total
        self.max_buffered = MAX_BUFFERED
        self._alarm.deadline = None
        if not self.is_open:
            self._error = CallFailed("connect", "closed immediately")

    def write(self, data: bytes | memoryview) -> None:
        """Send bytes, or buffer them until they can be sent."""
        if self.is_open:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until more can be written.

        Raises:
            CallFailed: the call has failed, or the upstream has read nothing for too long.
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

    def expect_complete(self, total: float | None) -> None:
        """Expect a complete response by `total`, a time of the event loop."""
        self.total = total
        self.max_buffered = _COMPLETE_MAX_BUFFERED

    def sent(self) -> None:
        """The complete request has been written."""
        self.is_sending = False
        if self._waiter is not None:
            self._alarm.set(self._deadline())

    async def head(self) -> ResponseReader:
        """Wait for the head of the response.

        Raises:
            CallFailed: there is no valid response.
        """
        response = self.response
        assert response is not None
        while not response.status:
            await self._wait()
        if self._error is not None and not response.chunks:
            # The body is invalid, and none of it was returned.
            raise self._error
        return response

    async def next(self) -> bytes | None:
        """The next bytes of the body, at most `max_buffered`; None at its end.

        Raises:
            CallFailed: the body was truncated.
        """
        response = self.response
        assert response is not None
        while not response.chunks:
            if response.is_complete:
                return None
            await self._wait()
        data = response.take(self.max_buffered)
        if not response.chunks:
            self._resume()
        return data

    async def pump(self, feed: Callable[[bytes], bool]) -> bool:
        """Pass the body to `feed` as it arrives, until that returns False; returns whether it has ended.

        Raises:
            CallFailed: the body was truncated.
            Exception: the exception of `feed`.
        """
        response = self.response
        assert response is not None
        self._feed = feed
        try:
            self._push(response)
            while self._feed is not None and not response.is_complete:
                self._resume()
                await self._wait()
        finally:
            self._feed = None
        error, self._feed_error = self._feed_error, None
        if error is not None:
            raise error
        return response.is_complete and not response.chunks

    def _push(self, response: ResponseReader) -> None:
        """Pass buffered bytes to the feed."""
        try:
            while response.chunks and self._feed is not None:
                if not self._feed(response.take(self.max_buffered)):
                    self._feed = None
        except Exception as error:
            self._feed, self._feed_error = None, error
        if self._feed is not None and self._waiter is not None:
            self._alarm.set(self._deadline())

    # --- The end -------------------------------------------------------------------------------------

    def end(self) -> bool:
        """Detach the response; returns whether the connection is reusable."""
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
        """Discard the rest of the response, and call `on_ended` when it has ended or after a short wait.

        The end often follows the end marker of a stream immediately, and the connection is reusable then.
        """
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

    def close_after(self, seconds: float) -> None:
        """Close the connection after `seconds`, if it is still idle."""
        self._alarm.set(self._loop.time() + seconds)

    def fail(self, error: CallFailed) -> None:
        """Fail the call: its waiter receives the error."""
        if self._error is None:
            self._error = error
        self.abort()
        self._wake()

    def abort(self) -> None:
        """Close the connection immediately."""
        if not self.is_open:
            return
        self.is_open = False
        self._transport.abort()
        # A transport whose connecting was cancelled holds its protocol.
        self._transport = None
        self._alarm.close()
        self.resume_writing()
        if self._on_ended is not None:
            self._ended()
        elif self.response is None:
            self._on_idle_lost(self)

    def _closed(self, cause: str, was_lost: bool = False) -> None:
        response = self.response
        if response is not None and not response.is_complete and self._error is None:
            try:
                if not was_lost:
                    response.eof()
            except InvalidResponse as error:
                cause = str(error)
            if not response.is_complete:
                self._error = CallFailed("broken", cause, is_silent=not response.has_begun)
        self.abort()
        self._wake()

    # --- Waiting -------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        """Wait for an event of the connection.

        Raises:
            CallFailed: the call has failed.
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

    def _deadline_passed(self) -> None:
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
