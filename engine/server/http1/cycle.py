"""One request and its response: ASGI, with extensions for the application.

Contract: a cycle is `scope["extensions"][EXTENSION]`. A client that disconnects, and a server that shuts
down, cancel the task of the application; `is_gone` and `interruption` distinguish the two. The head is sent
with the first piece of the body, as ASGI requires.
Must not know uvicorn, nor what an application does with a request.
"""

from __future__ import annotations

import asyncio
import http
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol

from engine.errors import ExchangeError
from engine.server.http1.framing import Framing

#: The key of the cycle in the `extensions` of a scope.
EXTENSION: Final = "dragoman"

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus
}
_CONTINUE_RESPONSE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS_STATUSES: Final = (204, 304)
_MAX_JOINED_BYTES: Final = 64 * 1024
_INTERNAL_ERROR_BODY: Final = (
    b'{"error":{"message":"internal error","type":"internal","param":null,"code":null}}'
)

Message = Any
App = Callable[[Any, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class ClientConnection(Protocol):
    """The connection of a cycle."""

    @property
    def default_fields(self) -> bytes:
        """The encoded header fields of every response."""

    @property
    def is_write_paused(self) -> bool:
        """Whether the write buffer is full, as the client reads too slowly."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    async def drained(self) -> None:
        """Wait until the write buffer is below its limit."""

    def resume_reading(self) -> None:
        """Resume reading from the client."""

    def on_task_done(self, cycle: Cycle) -> None:
        """Forget the task of the cycle, which is done."""

    def on_cycle_complete(self, cycle: Cycle, is_truncated: bool) -> None:
        """Start the next request or close; `is_truncated`: the response ended before it was complete."""


class Cycle:
    """One request and its response.

    Attributes:
        path: the raw path of the request, percent-encoded; empty if the request target has none.
        fault: why the request is refused before a route is chosen, or None.
        keep_alive: the connection stays open after the response.
        is_gone: the client has disconnected.
        is_received: the request body has been received completely.
        is_body_discarded: the request body is discarded.
        is_started, is_complete: the response has begun, and has ended, possibly truncated.
        received: the number of received bytes of the body.
        buffered: the number of those that the application has not read.
        is_waiting: the application is waiting for the body.
        seconds, idle_seconds: how long it has waited, in all and since the last bytes.
        received_before: the value of `received` at the last check of `idle_seconds`.
    """

    __slots__ = (
        "_body",
        "_body_error",
        "_chunked",
        "_connection",
        "_expects_continue",
        "_head",
        "_interruption",
        "_is_bodiless",
        "_is_read",
        "_is_running",
        "_is_settled",
        "_remaining",
        "_waiter",
        "buffered",
        "fault",
        "framing",
        "idle_seconds",
        "is_body_discarded",
        "is_complete",
        "is_gone",
        "is_received",
        "is_started",
        "keep_alive",
        "path",
        "received",
        "received_before",
        "scope",
        "seconds",
        "task",
    )

    def __init__(
        self,
        connection: ClientConnection,
        scope: dict[str, Any],
        framing: Framing,
        keep_alive: bool,
        fault: ExchangeError | None = None,
        path: str = "",
    ) -> None:
        self.scope = scope
        self.path = path
        self.framing = framing
        self.keep_alive = keep_alive
        self.fault = fault
        self.task: asyncio.Task[None] | None = None
        self.is_gone = self.is_body_discarded = self.is_started = self.is_complete = False
        self.is_received = not framing.has_body
        self.received = self.buffered = self.received_before = 0
        self.seconds = self.idle_seconds = 0.0
        self._connection = connection
        self._body: list[bytes] = []
        self._is_read = self._is_running = False
        self._expects_continue = framing.expects_continue
        self._waiter: asyncio.Future[None] | None = None
        self._body_error: ExchangeError | None = None
        self._interruption: ExchangeError | None = None
        self._is_settled = False
        self._head: bytes | None = None
        self._chunked = self._is_bodiless = False
        self._remaining = 0

    # --- The application's task --------------------------------------------------------------------------

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running event loop. The task knows it; `get_running_loop` makes a system call."""
        return asyncio.get_running_loop() if self.task is None else self.task.get_loop()

    async def run(self, app: App) -> None:
        """Run the application. If it fails, respond with 500, or truncate the response if it has started."""
        self._is_running = True
        try:
            if self.is_gone:
                return
            self.fault = self.fault or self._interruption
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not self.is_gone and self._interruption is None:
                raise
        except Exception as error:
            logging.getLogger(__name__).error("the application failed", exc_info=error)
        finally:
            self._connection.on_task_done(self)
            if not self.is_complete and not self.is_gone:
                self._end_after_failure()
            self.release()

    def _end_after_failure(self) -> None:
        if self.is_started:
            self.truncate()
            return
        self.keep_alive = False
        fields = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(_INTERNAL_ERROR_BODY)),
        ]
        self._start_response(500, fields)
        self._send_body(_INTERNAL_ERROR_BODY, more=False)

    def release(self) -> None:
        """Release what only the application needs. This breaks the reference cycle with the scope."""
        self.scope["extensions"].clear()
        self._body.clear()

    def on_disconnect(self) -> None:
        """Cancel the task of the application, as the client has disconnected."""
        self.is_gone = True
        self._wake()
        self._cancel()

    def interrupt(self, reason: ExchangeError) -> None:
        """Cancel the exchange; the application responds with `reason`."""
        if self._interruption is None:
            self._interruption = reason
            self._cancel()

    def _cancel(self) -> None:
        # A task cancelled before it starts could not send an error response.
        if self.task is not None and self._is_running and not self._is_settled and not self.is_complete:
            self.task.cancel()

    # --- Extensions of ASGI ------------------------------------------------------------------------------

    def interruption(self) -> ExchangeError:
        """Why the exchange was cancelled, for its client; the cancellation is then over.

        Raises:
            CancelledError: the client has disconnected, or the server cancelled the task.
        """
        if self._interruption is None or self.is_gone or self.task is None:
            raise asyncio.CancelledError
        self.task.uncancel()
        return self._interruption

    def ignore_body(self) -> None:
        """Discard the body. It is still received: behind unread data, a disconnect would not be noticed."""
        self.is_body_discarded = True
        self._body.clear()
        self._connection.resume_reading()

    def settle(self) -> None:
        """Do not cancel the exchange from here on, as it releases what it holds."""
        self._is_settled = True

    @property
    def wants_body(self) -> bool:
        """Whether the response that was started has a body."""
        return not self._is_bodiless

    def write_comment(self, data: bytes) -> None:
        """Send a piece of the body between two others, unless the last one is still being sent."""
        is_open = self.is_started and not self.is_complete and not self.is_gone
        if self._head is None and is_open and not self._connection.is_write_paused:
            self._send_body(data, more=True)

    def truncate(self) -> None:
        """End the response without its end marker, so that the client does not take it for complete."""
        if self.is_gone or self.is_complete:
            return
        if self._head is not None:
            self._send_body(b"", more=True)
        self.is_complete = True
        self._connection.on_cycle_complete(self, True)

    # --- Request body ------------------------------------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        return self._waiter is not None and not self._is_read

    def feed_body(self, data: bytes) -> None:
        """Add a received piece of the body."""
        self._body.append(data)
        self.received += len(data)
        self.buffered += len(data)
        self._wake()

    def end_body(self) -> None:
        """Mark the body as complete."""
        self.is_received = True
        self._wake()

    def fail_body(self, error: ExchangeError) -> None:
        """Let `receive` raise `error`, as the rest of the body cannot be read."""
        self._body_error = error
        self.keep_alive = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self) -> Message:
        """The next `http.request` of ASGI; after the last one, `http.disconnect`.

        Raises:
            ExchangeError: the rest of the body is invalid or took too long.
        """
        assert not self.is_body_discarded, "the body is discarded"
        while not self.is_gone and (
            self._is_read or not (self._body or self.is_received or self._body_error)
        ):
            await self._wait()
        if self.is_gone:
            return {"type": "http.disconnect"}
        if self._body_error is not None:
            raise self._body_error
        data = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self.buffered = 0
        self._is_read = self.is_received
        return {"type": "http.request", "body": data, "more_body": not self._is_read}

    async def _wait(self) -> None:
        if self._expects_continue and not self.is_started:
            self._connection.write(_CONTINUE_RESPONSE)
        self._expects_continue = False
        self._connection.resume_reading()
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # --- Response ----------------------------------------------------------------------------------------

    async def drained(self) -> None:
        """Wait until the client reads fast enough.

        Raises:
            CancelledError: the client has disconnected.
        """
        if self._connection.is_write_paused and not self.is_gone:
            await self._connection.drained()
        if self.is_gone:
            raise asyncio.CancelledError

    async def send(self, message: Message) -> None:
        """Send the head or a piece of the body, as an ASGI message; raises as `drained`."""
        await self.drained()
        if message["type"] == "http.response.start":
            self._start_response(message["status"], message["headers"])
        else:
            self._send_body(message.get("body", b""), message.get("more_body", False))

    @property
    def is_writable(self) -> bool:
        """Whether `respond` and `write` can be called: the client is connected and reads fast enough."""
        return not self.is_gone and not self._connection.is_write_paused

    def respond(self, status: int, fields: Iterable[tuple[str, str]], data: bytes) -> None:
        """Send a complete response instead of calling `send`, if no middleware wraps `send`.

        Args:
            fields: header fields in ISO 8859-1, framing included.
        """
        lines = [f"{name}: {value}\r\n" for name, value in fields]
        length = None if status in _BODILESS_STATUSES else len(data)
        self._prepare_head(status, "".join(lines).encode("latin-1"), len(lines), length)
        self._send_body(data, more=False)

    def write(self, data: bytes) -> None:
        """Send a piece of the body after the head, if `is_writable`."""
        self._send_body(data, more=True)

    def _start_response(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        """Prepare the head from the fields of an ASGI message."""
        length = None
        lines = []
        for name, value in fields:
            lines.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length":
                length = int(value)
        self._prepare_head(status, b"".join(lines), len(lines), length)

    def _prepare_head(self, status: int, lines: bytes, count: int, length: int | None) -> None:
        """Prepare the head, which is sent with the first piece of the body.

        Args:
            lines, count: the encoded header fields, and their number.
            length: the number of bytes of the body, or None if unknown.

        Raises:
            ValueError: a header field contains a line break or NUL.
        """
        assert not self.is_started, "the response has already started"
        if lines.count(b"\n") != count or lines.count(b"\r") != count or b"\0" in lines:
            raise ValueError("a header field of the response contains a line break or NUL")
        self.is_started = True
        self._is_bodiless = self.scope["method"] == "HEAD" or status in _BODILESS_STATUSES
        framing = b""
        if length is not None:
            self._remaining = length
        elif not self._is_bodiless:
            framing = self._frame_unknown_length()
        # The client may send the body without 100 Continue, or the next request instead.
        if self._expects_continue and not self.is_received:
            self.keep_alive = False
        if not self.keep_alive:
            framing += b"connection: close\r\n"
        first = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        has_date = b"\ndate:" in lines or lines.startswith(b"date:")
        fields = b"" if has_date else self._connection.default_fields
        self._head = b"".join((first, fields, lines, framing, b"\r\n"))

    def _frame_unknown_length(self) -> bytes:
        """Frame a body of unknown length: chunked, or until the connection closes (RFC 9112, section 6.3)."""
        if self.scope["http_version"] == "1.0":
            self.keep_alive = False
            return b""
        self._chunked = True
        return b"transfer-encoding: chunked\r\n"

    def _send_body(self, data: bytes, more: bool) -> None:
        assert self.is_started, "the body was sent before the head"
        assert not self.is_complete, "the response is already complete"
        if self._is_bodiless:
            data, self._remaining = b"", 0
        elif self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            data = data if more else data + b"0\r\n\r\n"
        else:
            self._remaining -= len(data)
        head, self._head = self._head, None
        if head is not None and len(data) < _MAX_JOINED_BYTES:
            data = head + data
        elif head is not None:
            self._connection.write(head)
        if data:
            self._connection.write(data)
        if not more:
            self.is_complete = True
            self._connection.on_cycle_complete(self, not self._chunked and self._remaining > 0)
