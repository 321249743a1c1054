"""A client connection: bytes → cycles, responses → bytes, deadlines and closing.

Contract: cycles run in the order of their requests, one at a time. A client that closes the connection, or
only its own side of it, cancels its exchange, as in nginx. `sweep` enforces the deadlines: the server calls
it a few times a second, so that a request needs no timer. Extends uvicorn's protocol for httptools, for its
parser and flow control. Must not know what an application does with a request.
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
from engine.server.http1.connection_limit import ConnectionLimit
from engine.server.http1.cycle import EXTENSION, Cycle
from engine.server.http1.framing import Framing, Target, check_size, framing_of, refusal, target_of
from engine.server.http1.limits import Limits

_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_HIGH_WATER: Final = 64 * 1024
#: Bytes of chunk framing allowed for each byte of a body, and in addition for each body.
_OVERHEAD_RATE: Final = 16
_OVERHEAD_BYTES: Final = 64 * 1024
#: States of a TCP connection whose peer has sent a FIN (Linux, tcp_states.h).
_CLOSED_STATES: Final = (7, 8, 9, 11)
_NO_FRAMING: Final = Framing()


class Connection(HttpToolsProtocol):
    """One connection. A server sets `limits` and `connection_limit` in a subclass."""

    limits = Limits()
    connection_limit = ConnectionLimit()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = httptools.HttpRequestParser(self)
        self.queued: deque[Cycle] = deque()
        self.running: Cycle | None = None
        self._parsed: Cycle | None = None
        self._in_head = False
        self._ignores_input = False
        self._is_replaying = False
        self._is_shutting_down = False
        self._replayed_field = b""
        self._heads_started = self._head_bytes = self._body_bytes = self._discarded_bytes = 0
        self._written_bytes = self._sent_bytes = 0
        self._elapsed_seconds = self._stalled_seconds = 0.0
        self._swept_at = self.loop.time()

    # --- Callbacks of the transport ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register a new connection, and enforce the limit on open connections."""
        super().connection_made(transport)
        self.connection_limit.waiting[self] = None
        self.connection_limit.enforce(len(self.connections))

    def close_idle(self) -> None:
        """Close the connection at once; no request is lost, as it has none."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the exchange and release everything, as the connection is closed by either side."""
        self.connections.discard(self)
        self.connection_limit.waiting.pop(self, None)
        self._on_disconnect()
        self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]
        self._parsed = None

    def eof_received(self) -> None:
        """Cancel the exchange, as the client has closed its side; the transport closes after this."""
        self._on_disconnect()

    def _on_disconnect(self) -> None:
        self._discard_queued()
        running, self.running = self.running, None
        self._ignores_input = True
        if running is not None:
            running.on_disconnect()

    def _discard_queued(self) -> None:
        while self.queued:
            self.queued.pop().release()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, or discard them if the input is ignored."""
        if self._ignores_input:
            self._discard(len(data))
            return
        was_in_head, was_complete = self._in_head, self._is_request_complete
        self._heads_started = 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._ignore_upgrade(data[stop.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(refusal("invalid HTTP/1.1 request"))
            return
        if self._ignores_input:
            return
        if self._in_head:
            # If a head begins after other data, its share of these bytes is unknown.
            is_head_only = self._heads_started == (0 if was_in_head else 1) and (was_in_head or was_complete)
            self._count_head(len(data) if is_head_only else 0)
        elif self._parsed is not None and self._parsed.framing.is_chunked:
            self._count_body(len(data))

    def _discard(self, size: int) -> None:
        """Discard input, up to a limit, so that a client that is still sending can read its response."""
        self._discarded_bytes += size
        if self._discarded_bytes > self.limits.linger_bytes:
            if self.running is not None:
                self.flow.pause_reading()
            else:
                self.transport.close()

    def _count_head(self, size: int) -> None:
        """Limit the size of an incomplete head."""
        self._head_bytes += size
        if self._head_bytes > self.limits.head_bytes:
            is_target = not self.headers and len(self.url) > self.limits.target_bytes
            self._refuse(refusal("the request head is too large", 414 if is_target else 431))

    def _count_body(self, size: int) -> None:
        """Limit the bytes of a chunked body that are not content: chunk extensions and trailers."""
        cycle = self._parsed
        assert cycle is not None
        self._body_bytes += size
        allowed = _OVERHEAD_BYTES + _HIGH_WATER + _OVERHEAD_RATE * cycle.received
        if not cycle.is_received and self._body_bytes > allowed:
            self._refuse(refusal("the chunked body has too much framing overhead"))

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Ignore an Upgrade (RFC 9110, section 7.8): the parser has stopped after the head, so a new parser
        receives the framing field of the request and reads the body."""
        self.parser = httptools.HttpRequestParser(self)
        if self._is_replaying:
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + self._replayed_field + b"\r\n\r\n")
            self._is_replaying = False
        if rest:
            self.data_received(rest)

    # --- Callbacks of the parser -------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Reset the state of the head for a new request."""
        if self._is_replaying or self._ignores_input:
            return
        self.url = b""
        self.headers = []
        self._in_head = True
        self._heads_started += 1
        self._head_bytes = self._body_bytes = self._discarded_bytes = 0
        self._elapsed_seconds = 0.0

    def on_url(self, url: bytes) -> None:
        """Append a piece of the request target."""
        if not self._is_replaying:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Append a header field; trailer fields are ignored."""
        if self._in_head and not self._is_replaying:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Validate the complete head of a request and start its cycle, or refuse it."""
        if self._is_replaying or self._ignores_input:
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
            self._is_replaying, self._replayed_field = True, framing.line
        keep_alive = version == "1.1" and parser.should_keep_alive() and not self._is_shutting_down
        scope = self._scope(method, version)
        self._start_or_queue(Cycle(self, scope, framing, keep_alive, None, _add_target(scope, target)))

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

    def _start_or_queue(self, cycle: Cycle) -> None:
        """Start a cycle, or queue it behind earlier requests."""
        cycle.scope["extensions"][EXTENSION] = cycle
        self._parsed = cycle
        self.connection_limit.waiting.pop(self, None)
        if self.running is None:
            self._start(cycle)
        else:
            self.flow.pause_reading()
            self.queued.append(cycle)

    def _start(self, cycle: Cycle) -> None:
        self.running = cycle
        cycle.task = self.loop.create_task(cycle.run(self.app))
        self.tasks.add(cycle.task)

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body to its cycle, or discard it."""
        cycle = self._parsed
        if self._ignores_input or cycle is None:
            return
        if cycle.is_complete or cycle.is_body_discarded:
            self._discard(len(body))
            return
        cycle.feed_body(body)
        if cycle.buffered > _HIGH_WATER:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """Mark the body of the request as complete."""
        if not self._is_replaying and not self._ignores_input and self._parsed is not None:
            self._parsed.end_body()
            self._elapsed_seconds = 0.0

    # --- Refused requests --------------------------------------------------------------------------------

    def _refuse(self, error: ExchangeError) -> None:
        """Respond with an error, after the responses to earlier requests, and ignore further input."""
        self._ignores_input = True
        cycle = self._parsed if not self._in_head else None
        if cycle is not None and not cycle.is_received:
            cycle.fail_body(error)
            if cycle.is_complete:
                self._close()
            return
        if not self._in_head:
            self.url, self.headers = b"", []
        self._in_head = False
        scope = self._scope(self._method(), "1.1")
        path = _add_target(scope, self._target_of_refused()) if self.headers else ""
        self._start_or_queue(Cycle(self, scope, _NO_FRAMING, False, error, path))

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

    # --- Methods for cycles ------------------------------------------------------------------------------

    @property
    def default_fields(self) -> bytes:
        """The encoded default header fields: Date."""
        return _encoded_fields.encode(self.server_state.default_headers)

    @property
    def is_write_paused(self) -> bool:
        return self.flow.write_paused

    async def drained(self) -> None:
        """Wait until the write buffer is below its limit."""
        await self.flow.drain()

    def write(self, data: bytes) -> None:
        """Send bytes; discard them if the connection is closing."""
        if not self.transport.is_closing():
            self._written_bytes += len(data)
            self.transport.write(data)

    def resume_reading(self) -> None:
        """Resume reading, unless the input is ignored."""
        if not self._ignores_input:
            self.flow.resume_reading()

    def on_task_done(self, cycle: Cycle) -> None:
        """Forget the finished task of a cycle."""
        if cycle.task is not None:
            self.tasks.discard(cycle.task)

    def on_cycle_complete(self, cycle: Cycle, is_truncated: bool) -> None:
        """A response is complete or truncated: start the next request, wait for one, or close."""
        self.server_state.total_requests += 1
        self.running = None
        self._elapsed_seconds = 0.0
        if self.transport.is_closing():
            return
        if is_truncated or not cycle.keep_alive:
            self._close()
        elif self.queued:
            self._start(self.queued.popleft())
        else:
            self.connection_limit.waiting[self] = None
            self.flow.resume_reading()

    def _close(self) -> None:
        """Close the connection; if the client may still be sending, only the write side for now."""
        is_input_complete = (
            not self._ignores_input
            and not self.queued
            and self._parsed is not None
            and self._parsed.is_received
        )
        self._ignores_input = True
        self._discard_queued()
        self._elapsed_seconds = 0.0
        if is_input_complete or not self.transport.can_write_eof():
            self.transport.close()
            return
        try:
            self.transport.write_eof()
        except OSError:
            self.transport.abort()
        else:
            self.connection_limit.waiting[self] = None
            self.flow.resume_reading()

    # --- Deadlines ---------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether the connection has no request, not even part of one."""
        return (
            self.running is None
            and not self._in_head
            and not self._ignores_input
            and self._is_request_complete
        )

    @property
    def _is_request_complete(self) -> bool:
        return self._parsed is None or self._parsed.is_received

    def sweep(self, now: float) -> None:
        """Enforce the deadlines; `now` is the time of the event loop."""
        elapsed, self._swept_at = min(now - self._swept_at, 1.0), now
        cycle = self.running
        if self._is_sending_stalled(elapsed) or (self.flow.read_paused and self._has_client_closed()):
            self.transport.abort()
        elif cycle is None:
            self._sweep_between(elapsed)
        elif cycle.is_waiting:
            self._sweep_body(cycle, elapsed)

    def _is_sending_stalled(self, elapsed: float) -> bool:
        """Update the time without progress in sending; returns whether it exceeds the limit."""
        unsent = self.transport.get_write_buffer_size()
        sent, sent_before = self._written_bytes - unsent, self._sent_bytes
        self._sent_bytes = sent
        self._stalled_seconds = self._stalled_seconds + elapsed if unsent and sent == sent_before else 0.0
        return self._stalled_seconds > self.limits.send

    def _has_client_closed(self) -> bool:
        """Whether the client has closed its side while reading is paused (on Linux)."""
        connection = self.transport.get_extra_info("socket")
        if connection is None or not hasattr(socket, "TCP_INFO"):
            return False
        try:
            return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _CLOSED_STATES
        except (OSError, ValueError):
            return True

    def _sweep_between(self, elapsed: float) -> None:
        """Enforce the deadlines of the head, of discarded input and of keep-alive."""
        self._elapsed_seconds += elapsed
        if self._in_head:
            if self._elapsed_seconds > self.limits.head:
                self._refuse(refusal("the request head took too long", 408))
        elif self._ignores_input or not self._is_request_complete:
            if self._elapsed_seconds > self.limits.linger:
                self.transport.close()
        elif self._elapsed_seconds > self.limits.keep_alive:
            self.transport.close()

    def _sweep_body(self, cycle: Cycle, elapsed: float) -> None:
        cycle.seconds += elapsed
        cycle.idle_seconds = cycle.idle_seconds + elapsed if cycle.received == cycle.received_before else 0.0
        cycle.received_before = cycle.received
        limits = self.limits
        is_slow = cycle.seconds > limits.body + cycle.received / limits.body_rate
        if is_slow or cycle.idle_seconds > limits.body_idle:
            self._refuse(refusal("the request body took too long", 408))

    # --- Shutdown ----------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Close the connection if it is idle, otherwise after the response in progress."""
        self._is_shutting_down = True
        if self.is_idle:
            self.transport.close()
        elif self.running is not None:
            self.running.keep_alive = False

    def interrupt(self, reason: ExchangeError) -> None:
        """Interrupt the running exchange, or close the connection if there is none."""
        if self.running is not None:
            self.running.interrupt(reason)
        else:
            self.transport.close()


def _add_target(scope: dict[str, Any], target: Target) -> str:
    """Add a request target to a scope; returns its raw path."""
    raw = target.raw
    scope["raw_path"], scope["path"], scope["query_string"] = raw.encode(), target.path, target.query
    return raw


class _EncodedFields:
    """Encodes header fields; caches the result, as uvicorn makes a new list only once a second."""

    def __init__(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self._encoded = b""

    def encode(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        if fields is not self._fields:
            self._fields, self._encoded = fields, b"".join([b"%b: %b\r\n" % field for field in fields])
        return self._encoded


_encoded_fields: Final = _EncodedFields()
