"""A client's connection: bytes into cycles, their answers into bytes, and all that ends it.

Contract: cycles are answered in the order of their requests, one at a time. The client that closes, even its
own side alone, ends what is done for it, as with nginx. Deadlines are kept by `sweep`, which the server calls
a few times a second, so that a request pays for no timer. Stands on uvicorn's protocol for httptools, whose
parser and flow control it uses; must not know what is done with a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from engine.errors import ExchangeError
from engine.server.http1.connection_limit import Room
from engine.server.http1.cycle import EXTENSION, Cycle
from engine.server.http1.framing import Framing, Target, check_size, framing_of, refusal, target_of
from engine.server.http1.limits import Limits

_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_HIGH_WATER: Final = 64 * 1024
#: Bytes that chunks may need beside each byte of a body, and beside all of them.
_OVERHEAD_RATE: Final = 16
_OVERHEAD_BYTES: Final = 64 * 1024
#: States of a TCP connection whose other side has sent its FIN (Linux, tcp_states.h).
_LEFT: Final = (7, 8, 9, 11)
_UNKNOWN: Final = Framing()


class Connection(HttpToolsProtocol):
    """One connection. `limits` and `room` belong to the class that a server makes of this one."""

    limits = Limits()
    room = Room()

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.parser = httptools.HttpRequestParser(self)
        self.waiting: deque[Cycle] = deque()
        self.running: Cycle | None = None
        self._parsed: Cycle | None = None
        self._in_head = False
        self._is_deaf = False
        self._is_replay = False
        self._is_ending = False
        self._replayed = b""
        self._begun = self._head_bytes = self._body_bytes = self._dropped = 0
        self._written = self._taken = 0
        self._seconds = self._stalled = 0.0
        self._swept = self.loop.time()

    # --- What the transport says -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come; where there are too many, the one that has waited longest gives way."""
        super().connection_made(transport)
        self.room.waiting[self] = None
        self.room.make(len(self.connections))

    def give_way(self) -> None:
        """Close, as no request is lost by it."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left, or was left."""
        self.connections.discard(self)
        self.room.waiting.pop(self, None)
        self._leave()
        self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]
        self._parsed = None

    def eof_received(self) -> None:
        """The client sends nothing more; the transport closes after this."""
        self._leave()

    def _leave(self) -> None:
        self._forget_waiting()
        running, self.running = self.running, None
        self._is_deaf = True
        if running is not None:
            running.leave()

    def _forget_waiting(self) -> None:
        while self.waiting:
            self.waiting.pop().release()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._is_deaf:
            self._drop(len(data))
            return
        was_in_head, was_between = self._in_head, self._has_all
        self._begun = 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._go_on(data[stop.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(refusal("this is not understood as HTTP/1.1"))
            return
        if self._is_deaf:
            return
        if self._in_head:
            # Where a head began behind something else, its part of these bytes is not known.
            is_all = self._begun == (0 if was_in_head else 1) and (was_in_head or was_between)
            self._count_head(len(data) if is_all else 0)
        elif self._parsed is not None and self._parsed.framing.is_chunked:
            self._count_body(len(data))

    def _drop(self, size: int) -> None:
        """Take what nobody reads, up to a bound: a client that still sends can so read its answer."""
        self._dropped += size
        if self._dropped > self.limits.linger_bytes:
            if self.running is not None:
                self.flow.pause_reading()
            else:
                self.transport.close()

    def _count_head(self, size: int) -> None:
        """Bound a head that has not come to its end."""
        self._head_bytes += size
        if self._head_bytes > self.limits.head_bytes:
            is_target = not self.headers and len(self.url) > self.limits.target_bytes
            self._refuse(refusal("the request's head is too large", 414 if is_target else 431))

    def _count_body(self, size: int) -> None:
        """Bound what comes beside the body itself: chunk extensions and trailers."""
        cycle = self._parsed
        assert cycle is not None
        self._body_bytes += size
        allowed = _OVERHEAD_BYTES + _HIGH_WATER + _OVERHEAD_RATE * cycle.received
        if not cycle.is_received and self._body_bytes > allowed:
            self._refuse(refusal("the body's chunks hold too much that is no body"))

    def _go_on(self, rest: bytes) -> None:
        """Ignore an Upgrade (RFC 9110, section 7.8): the parser has stopped after the head, so another one is
        told how the body is framed and reads it."""
        self.parser = httptools.HttpRequestParser(self)
        if self._is_replay:
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + self._replayed + b"\r\n\r\n")
            self._is_replay = False
        if rest:
            self.data_received(rest)

    # --- What the parser says ----------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._is_replay or self._is_deaf:
            return
        self.url = b""
        self.headers = []
        self._in_head = True
        self._begun += 1
        self._head_bytes = self._body_bytes = self._dropped = 0
        self._seconds = 0.0

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        if not self._is_replay:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field; fields after the body are not taken."""
        if self._in_head and not self._is_replay:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head of a request is there."""
        if self._is_replay or self._is_deaf:
            return
        parser = self.parser
        version, method = parser.get_http_version(), parser.get_method().decode("ascii")
        try:
            target = target_of(method, self.url)
            check_size(self.url, self.headers, self.limits)
            framing = framing_of(version, self.headers)
        except ExchangeError as error:
            self._refuse(error)
            return
        self._in_head = False
        if parser.should_upgrade() and framing.has_body:
            self._is_replay, self._replayed = True, framing.line
        keep_alive = version == "1.1" and parser.should_keep_alive() and not self._is_ending
        scope = self._scope(method, version)
        self._take(Cycle(self, scope, framing, keep_alive, None, _add_target(scope, target)))

    def _scope(self, method: str, version: str) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": method,
            "scheme": "http",
            "root_path": "",
            "raw_path": b"",
            "path": "",
            "query_string": b"",
            "headers": self.headers,
            "server": self.server,
            "client": self.client,
            "extensions": {},
        }

    def _take(self, cycle: Cycle) -> None:
        """Begin with a request, or let it wait for those before it."""
        cycle.scope["extensions"][EXTENSION] = cycle
        self._parsed = cycle
        self.room.waiting.pop(self, None)
        if self.running is None:
            self._begin(cycle)
        else:
            self.flow.pause_reading()
            self.waiting.append(cycle)

    def _begin(self, cycle: Cycle) -> None:
        self.running = cycle
        cycle.task = self.loop.create_task(cycle.run(self.app))
        self.tasks.add(cycle.task)

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        cycle = self._parsed
        if self._is_deaf or cycle is None:
            return
        if cycle.is_complete or cycle.is_ignoring:
            self._drop(len(body))
            return
        cycle.feed(body)
        if cycle.buffered > _HIGH_WATER:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """A request has come to its end."""
        if not self._is_replay and not self._is_deaf and self._parsed is not None:
            self._parsed.end()
            self._seconds = 0.0

    # --- What is not understood --------------------------------------------------------------------------

    def _refuse(self, error: ExchangeError) -> None:
        """Answer what has come with a failure, in its turn, and listen to nothing more."""
        self._is_deaf = True
        body = self._parsed if not self._in_head else None
        if body is not None and not body.is_received:
            body.fail(error)
            if body.is_complete:
                self._end()
            return
        if not self._in_head:
            self.url, self.headers = b"", []
        self._in_head = False
        scope = self._scope(self._method(), "1.1")
        path = _add_target(scope, self._target_of_refused()) if self.headers else ""
        self._take(Cycle(self, scope, _UNKNOWN, False, error, path))

    def _method(self) -> str:
        return str(self.parser.get_method().decode("ascii"))

    def _target_of_refused(self) -> Target:
        """The target of a refused request, as far as it is valid: it decides the error format."""
        if self.url == b"*":
            return Target("*", "*", b"")
        if len(self.url) <= self.limits.target_bytes:
            with contextlib.suppress(ExchangeError):
                return target_of("GET", self.url)
        return Target("", "", b"")

    # --- What cycles ask for -----------------------------------------------------------------------------

    @property
    def fields(self) -> bytes:
        """The date."""
        return _lines.of(self.server_state.default_headers)

    @property
    def is_full(self) -> bool:
        return self.flow.write_paused

    async def drained(self) -> None:
        """Wait until the client has taken enough."""
        await self.flow.drain()

    def write(self, data: bytes) -> None:
        """Send bytes; where the connection is closing they would reach nobody."""
        if not self.transport.is_closing():
            self._written += len(data)
            self.transport.write(data)

    def resume(self) -> None:
        """Read on."""
        if not self._is_deaf:
            self.flow.resume_reading()

    def ended(self, cycle: Cycle) -> None:
        """Nothing runs any more for a request."""
        if cycle.task is not None:
            self.tasks.discard(cycle.task)

    def on_cycle_complete(self, cycle: Cycle, is_cut: bool) -> None:
        """An answer has come to its end: the next request's turn, or the end of the connection."""
        self.server_state.total_requests += 1
        self.running = None
        self._seconds = 0.0
        if self.transport.is_closing():
            return
        if is_cut or not cycle.keep_alive:
            self._end()
        elif self.waiting:
            self._begin(self.waiting.popleft())
        else:
            self.room.waiting[self] = None
            self.flow.resume_reading()

    def _end(self) -> None:
        """Close; where the client may still be sending, only our side, for a while."""
        is_quiet = (
            not self._is_deaf and not self.waiting and self._parsed is not None and self._parsed.is_received
        )
        self._is_deaf = True
        self._forget_waiting()
        self._seconds = 0.0
        if is_quiet or not self.transport.can_write_eof():
            self.transport.close()
            return
        try:
            self.transport.write_eof()
        except OSError:
            self.transport.abort()
        else:
            self.room.waiting[self] = None
            self.flow.resume_reading()

    # --- Time --------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """No request is there, nor a part of one."""
        return self.running is None and not self._in_head and not self._is_deaf and self._has_all

    @property
    def _has_all(self) -> bool:
        return self._parsed is None or self._parsed.is_received

    def sweep(self, now: float) -> None:
        """Look whether the client's time is over; `now` is the event loop's."""
        passed, self._swept = min(now - self._swept, 1.0), now
        cycle = self.running
        if self._takes_nothing(passed) or (self.flow.read_paused and self._has_left()):
            self.transport.abort()
        elif cycle is None:
            self._sweep_between(passed)
        elif cycle.is_waiting:
            self._sweep_body(cycle, passed)

    def _takes_nothing(self, passed: float) -> bool:
        """Whether bytes have lain here for too long."""
        left = self.transport.get_write_buffer_size()
        taken, before = self._written - left, self._taken
        self._taken = taken
        self._stalled = self._stalled + passed if left and taken == before else 0.0
        return self._stalled > self.limits.send

    def _has_left(self) -> bool:
        """Whether the client has closed while nothing is read from it (on Linux)."""
        connection = self.transport.get_extra_info("socket")
        if connection is None or not hasattr(socket, "TCP_INFO"):
            return False
        try:
            return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _LEFT
        except (OSError, ValueError):
            return True

    def _sweep_between(self, passed: float) -> None:
        """Time between requests, in a head, or in what comes after an answer."""
        self._seconds += passed
        if self._in_head:
            if self._seconds > self.limits.head:
                self._refuse(refusal("the request's head took too long", 408))
        elif self._is_deaf or not self._has_all:
            if self._seconds > self.limits.linger:
                self.transport.close()
        elif self._seconds > self.limits.keep_alive:
            self.transport.close()

    def _sweep_body(self, cycle: Cycle, passed: float) -> None:
        cycle.seconds += passed
        cycle.idle_seconds = cycle.idle_seconds + passed if cycle.received == cycle.seen else 0.0
        cycle.seen = cycle.received
        limits = self.limits
        is_slow = cycle.seconds > limits.body + cycle.received / limits.body_rate
        if is_slow or cycle.idle_seconds > limits.body_idle:
            self._refuse(refusal("the request's body took too long", 408))

    # --- The end of the server ---------------------------------------------------------------------------

    def shutdown(self) -> None:
        """The server ends: what is idle is closed, what is under way is answered and then closed."""
        self._is_ending = True
        if self.is_idle:
            self.transport.close()
        elif self.running is not None:
            self.running.keep_alive = False

    def interrupt(self, reason: ExchangeError) -> None:
        """The server's time is over: an exchange is told so, anything else is closed."""
        if self.running is not None:
            self.running.interrupt(reason)
        else:
            self.transport.close()


def _add_target(scope: dict[str, Any], target: Target) -> str:
    """Write a request target into a scope; its raw path."""
    raw = target.raw
    scope["raw_path"], scope["path"], scope["query_string"] = raw.encode(), target.path, target.query
    return raw


class _Lines:
    """Header fields as they go out; uvicorn makes a list of them anew each second."""

    def __init__(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self._written = b""

    def of(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        if fields is not self._fields:
            self._fields, self._written = fields, b"".join([b"%b: %b\r\n" % field for field in fields])
        return self._written


_lines: Final = _Lines()
