"""The `RequestCycle` of a request from any ASGI server (ASGI 3.0, HTTP 2.0 to 2.5), also below a mount point.

Contract: the server does the framing of HTTP. This module validates again everything that determines the
framing of a call to an upstream: the framing header fields, the length of the body, the path. A task per
request waits for `http.disconnect`. A response that cannot be completed raises `TruncatedResponse`, because
middleware might complete it if the application returned. The server enforces deadlines for heads, bodies and
slow clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote

from engine.errors import ExchangeError, TruncatedResponse, release_frames
from engine.server.http1 import EXTENSION
from engine.server.http1.framing import Framing, framing_of, refusal, target_of

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

_UNKNOWN: Final = Framing()
_WITHOUT_BODY: Final = (204, 304)
#: The most bytes of an unread request body that are discarded, and the most seconds for which the end of a
#: response waits for the body. A server that closes the connection while the client is sending resets it, and
#: the client loses the response.
_DISCARDED_BYTES: Final = 64 * 1024 * 1024
_LINGER_SECONDS: Final = 2.0
#: Characters of a path that are not percent-encoded (RFC 3986, 3.3).
_PATH_CHARACTERS: Final = "/!$&'()*+,;=:@"
_LINE_BREAK = re.compile(rb"[\r\n\0]")


class AsgiCycle:
    """A `RequestCycle` made from an ASGI scope, `receive` and `send`.

    Attributes:
        scope: the scope for the application: a copy with this cycle as an extension.
    """

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers = [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]
        extensions = {**(scope.get("extensions") or {}), EXTENSION: self}
        self.scope: dict[str, Any] = {**scope, "headers": headers, "extensions": extensions}
        self.path, self.framing = "", _UNKNOWN
        self.fault: ExchangeError | None = None
        self.is_gone = False
        try:
            self.path = path_of(scope)
            self.framing = framing_of("1.0" if scope["http_version"] == "1.0" else "1.1", headers)
        except ExchangeError as error:
            release_frames(error)
            self.fault = error
        self._receive = receive
        self._send = send
        self._task: asyncio.Task[Any] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._first: Message | None = None
        self._remaining = _content_length(self.framing)
        self._is_received = asyncio.Event()
        self._pending: list[bytes] = []
        self._sending = asyncio.Lock()
        self._comment: asyncio.Task[None] | None = None
        self._has_cancelled = self._is_settled = False
        self._is_started = self._is_complete = self._is_truncated = False
        self._has_body: bool = scope["method"] != "HEAD"

    async def run(self, app: App) -> None:
        """Call an application with this request; a client disconnect cancels it.

        Raises:
            TruncatedResponse: the response has started and cannot be completed.
        """
        task = self._task = asyncio.current_task()
        assert task is not None
        cancellations = task.cancelling()
        try:
            await self._begin()
            if not self.is_gone:
                await app(self.scope, self.receive, self.send)
                if self._is_truncated:
                    await self.drained()
        except asyncio.CancelledError:
            if not self.is_gone:
                raise
        finally:
            self._release()
            if self._has_cancelled:
                task.uncancel()
        if task.cancelling() > cancellations:
            raise asyncio.CancelledError
        if self._is_truncated and not self.is_gone:
            raise TruncatedResponse("the response was truncated because its source failed")

    def _release(self) -> None:
        """Cancel the tasks of this request, and break the reference cycles with this object."""
        self._is_settled = True
        for task in (self._listener, self._comment):
            if task is not None:
                task.cancel()
        self._task = self._listener = self._comment = None
        self.scope["extensions"].clear()

    # --- The request's body ------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Determine whether there is a body.

        Since HTTP/2, header fields need not indicate one; in that case this receives the first message.
        """
        if self.scope["http_version"] in ("1.0", "1.1") or self.framing.line or self.fault is not None:
            if not self.framing.has_body:
                self._received()
            return
        first = await self._receive()
        if first["type"] == "http.disconnect":
            self.is_gone = True
        elif first.get("body") or first.get("more_body"):
            self._first = first
            self.framing = self.framing._replace(has_body=True)
        else:
            self._received()

    async def receive(self) -> Message:
        """The next piece of the body, or the client's disconnect.

        Raises:
            ExchangeError: the length of the body differs from Content-Length.
        """
        first, self._first = self._first, None
        message = first or await self._receive()
        if message["type"] == "http.disconnect":
            self._disconnected()
            return message
        data, more = message.get("body", b""), message.get("more_body", False)
        if not more:
            self._received()
        if self._remaining is not None:
            self._remaining -= len(data)
            if self._remaining < 0 or (self._remaining and not more):
                raise refusal("the length of the body differs from Content-Length")
        return {"type": "http.request", "body": data, "more_body": more}

    def _received(self) -> None:
        """Note the end of the body, and wait for the client's disconnect from here on."""
        self._is_received.set()
        self._listen()

    def ignore_body(self) -> None:
        """Discard the body. A client that waits for 100 (Continue) gets the response and does not send it."""
        if not self.framing.expects_continue:
            self._listen()

    def _listen(self) -> None:
        """Wait for the client's disconnect from here on, and discard the rest of the body."""
        if self._listener is None and not self._is_settled:
            self._listener = asyncio.ensure_future(self._await_disconnect())

    async def _await_disconnect(self) -> None:
        discarded = 0
        while discarded <= _DISCARDED_BYTES:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._disconnected()
                break
            if not message.get("more_body", False):
                self._is_received.set()
            discarded += len(message.get("body", b""))
        self._is_received.set()

    def _disconnected(self) -> None:
        """Cancel the application, unless the response is complete or settled."""
        if self._is_complete or self.is_gone:
            return
        self.is_gone = True
        if self._task is not None and not self._is_settled and self._task is not asyncio.current_task():
            self._has_cancelled = True
            self._task.cancel()

    # --- The response ------------------------------------------------------------------------------------

    #: False, because ASGI sends only by awaiting the server.
    is_writable: Final = False

    @property
    def wants_body(self) -> bool:
        return self._has_body

    async def send(self, message: Message) -> None:
        """Send the head or a piece of the body, after everything written before; raises as `drained`."""
        await self.drained()
        if message["type"] == "http.response.start":
            message = self._start_message(message)
        else:
            self._is_complete = not message.get("more_body", False)
            if not self._has_body:
                message = {**message, "body": b""}
            if self._is_complete and not self._is_received.is_set() and not self.framing.expects_continue:
                message = await self._linger(message)
        await self._send_message(message)

    async def _linger(self, last: Message) -> Message:
        """Send the last piece, wait until the client has sent its body, and return the final message."""
        await self._send_message({**last, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                await self._is_received.wait()
        return {"type": "http.response.body", "body": b"", "more_body": False}

    def _start_message(self, message: Message) -> Message:
        status, headers = message["status"], list(message["headers"])
        if any(_LINE_BREAK.search(name) or _LINE_BREAK.search(value) for name, value in headers):
            raise ValueError("a header field of the response contains a line break")
        if status in _WITHOUT_BODY:
            # Servers compare Content-Length with the body, which is empty.
            headers = [field for field in headers if field[0] != b"content-length"]
            self._has_body = False
        self._is_started = True
        self._listen()
        return {**message, "headers": headers}

    async def drained(self) -> None:
        """Send everything that was written.

        Raises:
            CancelledError: the client has disconnected.
        """
        if self.is_gone:
            raise asyncio.CancelledError
        if self._pending:
            data = b"".join(self._pending)
            self._pending.clear()
            await self._send_message(_body_message(data))

    def write(self, data: bytes) -> None:
        """Send a piece of the body at the next `drained` or `send`."""
        if self._has_body and data:
            self._pending.append(data)

    def write_comment(self, data: bytes) -> None:
        """Send a piece of the body in a separate task, unless something is being sent."""
        is_open = self._is_started and not self._is_complete and not self._is_settled and not self.is_gone
        if is_open and self._has_body and not self._pending and not self._sending.locked():
            self._comment = asyncio.ensure_future(self._send_message(_body_message(data), is_comment=True))

    async def _send_message(self, message: Message, is_comment: bool = False) -> None:
        try:
            async with self._sending:
                if not (is_comment and (self._is_complete or self._is_settled)):
                    await self._send(message)
        except OSError:
            # Since version 2.4 of ASGI's HTTP specification, servers may report a disconnect this way.
            self._is_complete = False
            self._disconnected()
            raise asyncio.CancelledError from None

    def respond(self, status: int, fields: Iterable[tuple[str, str]], data: bytes) -> None:
        """Never called, because `is_writable` is False."""
        raise AssertionError("not writable")

    def truncate(self) -> None:
        """Make `run` raise `TruncatedResponse`, on which servers close the connection."""
        self._is_truncated = not self._is_complete

    # --- Cancellation ------------------------------------------------------------------------------------

    def interruption(self) -> ExchangeError:
        """Raise the cancellation again: ASGI provides no reason for it.

        Raises:
            CancelledError: always.
        """
        raise asyncio.CancelledError

    def settle(self) -> None:
        """Do not cancel the task from here on."""
        self._is_settled = True


def _body_message(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


def _content_length(framing: Framing) -> int | None:
    """The Content-Length in bytes; None if there is none."""
    length = framing.line.removeprefix(b"content-length: ")
    return int(length) if length.isdigit() else None


# --- Paths -----------------------------------------------------------------------------------------------


def path_of(scope: MutableMapping[str, Any]) -> str:
    """The raw path of a request below the `root_path` of its scope, percent-encoded; empty if there is none.

    `path` takes precedence: `raw_path` is optional, and middleware may have changed `path` alone. `raw_path`
    is used if it decodes to `path`, because it distinguishes `/` from `%2F`.

    Raises:
        ExchangeError: the request target has no path.
    """
    path, root = scope["path"], (scope.get("root_path") or "").rstrip("/")
    raw = (scope.get("raw_path") or b"").decode("latin-1")
    if unquote(raw) not in (path, root + path):
        raw = quote(path, safe=_PATH_CHARACTERS, errors="replace")
    if raw == "*":
        return raw
    return _below(target_of(scope["method"], raw.encode("latin-1") or b"/").raw, root)


def _below(raw: str, root: str) -> str:
    """A raw path without `root`, the decoded path of the mount point, which not all servers include."""
    path = unquote(raw)
    if not root or not (path == root or path.startswith(root + "/")):
        return raw
    if raw == root or raw.startswith(root + "/"):
        return raw[len(root) :] or "/"
    ends = (*(found.start() for found in re.finditer("/", raw)), len(raw))
    return next((raw[end:] or "/" for end in ends if unquote(raw[:end]) == root), "")
