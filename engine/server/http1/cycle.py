"""One request and its answer: ASGI, and what an application has to know beyond it.

Contract: a cycle is `scope["extensions"][EXTENSION]`. A client that leaves, and a server that ends, cancel
the task of the application; `is_gone` and `interruption` tell which it was. Nothing is sent before the first
piece of the body is there, so that head and body go out together, as ASGI has it.
Must not know uvicorn, nor what is done with a request.
"""

from __future__ import annotations

import asyncio
import http
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol

from engine.errors import ExchangeError
from engine.server.http1.framing import Framing

#: Under this name of its `extensions` a scope has its cycle.
EXTENSION: Final = "dragoman"

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus
}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS: Final = (204, 304)
_JOINED_BYTES: Final = 64 * 1024
_DEFECT: Final = (
    b'{"error":{"message":"something went wrong here","type":"internal","param":null,"code":null}}'
)

Message = Any
App = Callable[[Any, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class Wire(Protocol):
    """What a cycle asks of its connection."""

    @property
    def fields(self) -> bytes:
        """The lines of header fields that every answer has."""

    @property
    def is_full(self) -> bool:
        """The client does not take what is sent as fast as it comes."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    async def drained(self) -> None:
        """Wait until the client has taken enough of what was sent."""

    def resume(self) -> None:
        """Read on from the client."""

    def ended(self, cycle: Cycle) -> None:
        """The application has come to its end."""

    def on_cycle_complete(self, cycle: Cycle, is_cut: bool) -> None:
        """The answer has come to its end; `is_cut`: before its time."""


class Cycle:
    """One request and its answer.

    Attributes:
        path: the raw path of the request, percent-encoded; empty if the request target has none.
        fault: why the request is refused before anything else is looked at, or None.
        keep_alive: the connection outlives the answer.
        is_gone: the client has left.
        is_received: all of the request's body has come.
        is_ignoring: the body is not wanted.
        is_complete: all of the answer has been sent.
        received: bytes of the body that came.
        is_waiting: the body is waited for at this moment.
        seconds, idle_seconds: how long it has been waited for, in all and since bytes came.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_expects",
        "_failed",
        "_head",
        "_is_read",
        "_is_running",
        "_is_settled",
        "_owed",
        "_reason",
        "_waiter",
        "_wire",
        "_without_body",
        "buffered",
        "fault",
        "framing",
        "idle_seconds",
        "is_complete",
        "is_gone",
        "is_ignoring",
        "is_received",
        "is_started",
        "keep_alive",
        "path",
        "received",
        "scope",
        "seconds",
        "seen",
        "task",
    )

    def __init__(
        self,
        wire: Wire,
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
        self.is_gone = self.is_ignoring = self.is_started = self.is_complete = False
        self.is_received = not framing.has_body
        self.received = self.buffered = self.seen = 0
        self.seconds = self.idle_seconds = 0.0
        self._wire = wire
        self._body: list[bytes] = []
        self._is_read = self._is_running = False
        self._expects = framing.expects_continue
        self._waiter: asyncio.Future[None] | None = None
        self._failed: ExchangeError | None = None
        self._reason: ExchangeError | None = None
        self._is_settled = False
        self._head: bytes | None = None
        self._chunked = self._without_body = False
        self._owed = 0

    # --- The application's task --------------------------------------------------------------------------

    async def run(self, app: App) -> None:
        """Let an application answer. Whatever it raises, the client is told or cut off."""
        self._is_running = True
        try:
            if self.is_gone:
                return
            self.fault = self.fault or self._reason
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not self.is_gone and self._reason is None:
                raise
        except Exception as error:
            logging.getLogger(__name__).error("the application failed", exc_info=error)
        finally:
            self._wire.ended(self)
            if not self.is_complete and not self.is_gone:
                self._give_up()
            self.release()

    def _give_up(self) -> None:
        if self.is_started:
            self.truncate()
            return
        self.keep_alive = False
        fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_DEFECT))]
        self._start(500, fields)
        self._send_body(_DEFECT, more=False)

    def release(self) -> None:
        """Drop what only the application needs: its scope holds this cycle, which holds the scope."""
        self.scope["extensions"].clear()
        self._body.clear()

    def leave(self) -> None:
        """The client has left."""
        self.is_gone = True
        self._wake()
        self._cancel()

    def interrupt(self, reason: ExchangeError) -> None:
        """End this exchange before its time; its application tells the client why."""
        if self._reason is None:
            self._reason = reason
            self._cancel()

    def _cancel(self) -> None:
        # A task that has not begun would be cancelled before it could tell of it.
        if self.task is not None and self._is_running and not self._is_settled and not self.is_complete:
            self.task.cancel()

    # --- What an application may ask beyond ASGI ---------------------------------------------------------

    def interruption(self) -> ExchangeError:
        """Why the exchange was cancelled, for its client; the cancellation is then over.

        Raises:
            CancelledError: there is nobody to tell.
        """
        if self._reason is None or self.is_gone or self.task is None:
            raise asyncio.CancelledError
        self.task.uncancel()
        return self._reason

    def ignore_body(self) -> None:
        """The body will not be read: it is dropped as it comes, for behind it no leaving would be seen."""
        self.is_ignoring = True
        self._body.clear()
        self._wire.resume()

    def settle(self) -> None:
        """From here on the exchange is not cancelled any more: it is cleaning up."""
        self._is_settled = True

    @property
    def wants_body(self) -> bool:
        """Whether the answer that was started has a body."""
        return not self._without_body

    def write_comment(self, data: bytes) -> None:
        """Send a piece of the body between two others, unless the last one is still being sent."""
        is_open = self.is_started and not self.is_complete and not self.is_gone
        if self._head is None and is_open and not self._wire.is_full:
            self._send_body(data, more=True)

    def truncate(self) -> None:
        """End the response without its end marker, so that the client does not take it for complete."""
        if self.is_gone or self.is_complete:
            return
        if self._head is not None:
            self._send_body(b"", more=True)
        self.is_complete = True
        self._wire.on_cycle_complete(self, True)

    # --- The request's body ------------------------------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        return self._waiter is not None and not self._is_read

    def feed(self, data: bytes) -> None:
        """A piece of the body has come."""
        self._body.append(data)
        self.received += len(data)
        self.buffered += len(data)
        self._wake()

    def end(self) -> None:
        """The body has come to its end."""
        self.is_received = True
        self._wake()

    def fail(self, error: ExchangeError) -> None:
        """The body cannot be read any further: who reads it is told so."""
        self._failed = error
        self.keep_alive = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self) -> Message:
        """The next piece of the body, as ASGI has it; after the last one, the client's leaving.

        Raises:
            ExchangeError: the rest of the body is not understood, or took too long.
        """
        assert not self.is_ignoring, "the body was not wanted"
        while not self.is_gone and (self._is_read or not (self._body or self.is_received or self._failed)):
            await self._wait()
        if self.is_gone:
            return {"type": "http.disconnect"}
        if self._failed is not None:
            raise self._failed
        data = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self.buffered = 0
        self._is_read = self.is_received
        return {"type": "http.request", "body": data, "more_body": not self._is_read}

    async def _wait(self) -> None:
        if self._expects and not self.is_started:
            self._wire.write(_CONTINUE)
        self._expects = False
        self._wire.resume()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # --- The answer --------------------------------------------------------------------------------------

    async def drained(self) -> None:
        """Wait until the client has taken enough of what was sent.

        Raises:
            CancelledError: the client has left.
        """
        if self._wire.is_full and not self.is_gone:
            await self._wire.drained()
        if self.is_gone:
            raise asyncio.CancelledError

    async def send(self, message: Message) -> None:
        """The head of the answer or a piece of its body, as ASGI has it; raises as `drained`."""
        await self.drained()
        if message["type"] == "http.response.start":
            self._start(message["status"], message["headers"])
        else:
            self._send_body(message.get("body", b""), message.get("more_body", False))

    @property
    def is_writable(self) -> bool:
        """Whether `respond` and `write` can be called: the client is connected and reads fast enough."""
        return not self.is_gone and not self._wire.is_full

    def respond(self, status: int, fields: Iterable[tuple[str, str]], data: bytes) -> None:
        """Send a complete response instead of calling `send`, if no middleware wraps `send`.

        Args:
            fields: header fields in ISO 8859-1, framing included.
        """
        lines = [f"{name}: {value}\r\n" for name, value in fields]
        length = None if status in _BODILESS else len(data)
        self._begin(status, "".join(lines).encode("latin-1"), len(lines), length)
        self._send_body(data, more=False)

    def write(self, data: bytes) -> None:
        """Send a piece of the body after the head, if `is_writable`."""
        self._send_body(data, more=True)

    def _start(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        """Write the head as ASGI has it."""
        length = None
        lines = []
        for name, value in fields:
            lines.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length":
                length = int(value)
        self._begin(status, b"".join(lines), len(lines), length)

    def _begin(self, status: int, lines: bytes, count: int, length: int | None) -> None:
        """Keep the head, to be sent with the first piece of a body of so many bytes; None where that is not
        known."""
        assert not self.is_started, "an answer starts once"
        if lines.count(b"\n") != count or lines.count(b"\r") != count or b"\0" in lines:
            raise ValueError("a header field of the answer holds a line break")
        self.is_started = True
        self._without_body = self.scope["method"] == "HEAD" or status in _BODILESS
        framing = b""
        if length is not None:
            self._owed = length
        elif not self._without_body:
            framing = self._frame()
        # The body that is not asked for may come all the same, or the next request in its place.
        if self._expects and not self.is_received:
            self.keep_alive = False
        if not self.keep_alive:
            framing += b"connection: close\r\n"
        first = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        has_date = b"\ndate:" in lines or lines.startswith(b"date:")
        fields = b"" if has_date else self._wire.fields
        self._head = b"".join((first, fields, lines, framing, b"\r\n"))

    def _frame(self) -> bytes:
        """A body of unknown length: in chunks, or to the end of the connection (RFC 9112, section 6.3)."""
        if self.scope["http_version"] == "1.0":
            self.keep_alive = False
            return b""
        self._chunked = True
        return b"transfer-encoding: chunked\r\n"

    def _send_body(self, data: bytes, more: bool) -> None:
        assert self.is_started, "a head comes before the body"
        assert not self.is_complete, "nothing comes after the end"
        if self._without_body:
            data, self._owed = b"", 0
        elif self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            data = data if more else data + b"0\r\n\r\n"
        else:
            self._owed -= len(data)
        head, self._head = self._head, None
        if head is not None and len(data) < _JOINED_BYTES:
            data = head + data
        elif head is not None:
            self._wire.write(head)
        if data:
            self._wire.write(data)
        if not more:
            self.is_complete = True
            self._wire.on_cycle_complete(self, not self._chunked and self._owed > 0)
