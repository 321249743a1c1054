"""A real upstream on loopback that can misbehave: an asyncio socket server in a thread of its own.

Contract: no HTTP framework, so that every byte can be wrong. The response of a path is a behaviour, an
`async (Channel, Seen) -> None`. `BEHAVIOURS` names the usual ones, each served at `/NAME` and at any path
with that ending; `Upstream.on` adds others. The upstream records requests with their raw targets, and
connections with the times at which they were opened and closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from tests.support.times import PATIENCE

Headers = list[tuple[str, str]]
Fields = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A received request: `target` is that of the raw request line, header names are in lower case."""

    method: str
    target: str
    headers: Headers
    body: bytes
    connection: int
    at: float

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> Headers:
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


@dataclass(slots=True)
class Connection:
    """When a connection was opened and closed; `closed` is None while it is open."""

    number: int
    opened: float
    abort: Callable[[], None]
    closed: float | None = None
    requests: int = 0


class Channel:
    """The connection that a behaviour writes to. `gone` is set once the peer has closed or reset it."""

    def __init__(self, writer: asyncio.StreamWriter, gone: asyncio.Event) -> None:
        self.writer = writer
        self.gone = gone
        self.keep_alive = True

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hang(self) -> None:
        """Does nothing until the peer disconnects."""
        self.keep_alive = False
        await self.gone.wait()

    async def pause(self, seconds: float) -> bool:
        """Waits; returns whether the peer disconnected meanwhile."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.gone.wait(), seconds)
        return self.gone.is_set()

    def reset(self) -> None:
        """Closes with RST instead of FIN."""
        self.keep_alive = False
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour = Callable[[Channel, Seen], Awaitable[None]]

# --- Behaviours ------------------------------------------------------------------------------------------


def head(status: int | str, headers: Fields = ()) -> bytes:
    """Returns a response head with exactly these fields."""
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def complete_response(
    status: int, body: bytes = b"", media_type: str = "application/json", headers: Fields = ()
) -> Behaviour:
    """Returns a behaviour that sends a complete response with the right content-length."""
    fields = [("content-type", media_type), ("content-length", str(len(body))), *headers]

    async def behave(channel: Channel, seen: Seen) -> None:
        await channel.send(head(status, fields) + (b"" if seen.method == "HEAD" else body))

    return behave


def json_response(value: Any, status: int = 200, headers: Fields = ()) -> Behaviour:
    """Returns a behaviour that sends a JSON response."""
    return complete_response(status, json.dumps(value).encode(), headers=headers)


def raw(data: bytes, then: str = "keep") -> Behaviour:
    """Returns a behaviour that sends bytes; then "keep", "close" or "reset" the connection, or "hang"."""

    async def behave(channel: Channel, seen: Seen) -> None:
        await channel.send(data)
        if then == "hang":
            await channel.hang()
        elif then == "reset":
            channel.reset()
        elif then == "close":
            channel.keep_alive = False

    return behave


def after(seconds: float, behaviour: Behaviour) -> Behaviour:
    """Returns the behaviour with a delay."""

    async def behave(channel: Channel, seen: Seen) -> None:
        if not await channel.pause(seconds):
            await behaviour(channel, seen)

    return behave


class Gated:
    """Delays a behaviour until `release`, until `wanted` requests wait, or until the `with` block ends.

    Attributes:
        here: number of waiting requests.
        most: largest number of waiting requests so far.
    """

    def __init__(self, behaviour: Behaviour, wanted: int | None = None) -> None:
        self.here = self.most = 0
        self._behaviour = behaviour
        self._wanted = wanted
        self._is_released = threading.Event()

    def release(self) -> None:
        self._is_released.set()

    async def __call__(self, channel: Channel, seen: Seen) -> None:
        self.here += 1
        self.most = max(self.most, self.here)
        if self.here == self._wanted:
            self.release()
        while not self._is_released.is_set():
            if await channel.pause(0.005):
                break
        self.here -= 1
        await self._behaviour(channel, seen)

    def __enter__(self) -> Gated:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Events:
    """A stream of server-sent events `{"n": 0}`, `{"n": 1}`, …, each sent on request of the test.

    Attributes:
        sent: how many were sent.
    """

    def __init__(self) -> None:
        self.sent = 0
        self._wanted = 0
        self._is_over = False

    def send(self) -> None:
        self._wanted += 1

    def end(self) -> None:
        self._is_over = True

    async def __call__(self, channel: Channel, seen: Seen) -> None:
        await channel.send(head(200, [("content-type", "text/event-stream"), _CHUNKED]))
        while not channel.gone.is_set():
            if self.sent < self._wanted:
                data = b'data: {"n": %d}\n\n' % self.sent
                self.sent += 1
                await channel.send(b"%x\r\n%b\r\n" % (len(data), data))
            elif self._is_over:
                await channel.send(b"0\r\n\r\n")
                return
            else:
                await channel.pause(0.005)


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Returns a behaviour that uses the next of these for each request, and repeats the last one."""
    rest = list(behaviours)

    async def behave(channel: Channel, seen: Seen) -> None:
        await (rest.pop(0) if len(rest) > 1 else rest[0])(channel, seen)

    return behave


def drip(start: bytes, piece: bytes, every: float, times: int | None = None) -> Behaviour:
    """Returns a behaviour that sends `start` and then `piece` `times` times; None means for ever."""

    async def behave(channel: Channel, seen: Seen) -> None:
        await channel.send(start)
        count = 0
        while times is None or count < times:
            if every and await channel.pause(every):
                return
            await channel.send(piece)
            count += 1

    return behave


async def echo(channel: Channel, seen: Seen) -> None:
    """Returns the request as JSON."""
    received = {
        "method": seen.method,
        "target": seen.target,
        "headers": dict(seen.headers),
        "body": seen.body.decode("utf-8", "replace"),
    }
    await json_response(received)(channel, seen)


async def status_of_path(channel: Channel, seen: Seen) -> None:
    """`/status/404` returns 404 with a JSON error; `/status/302` redirects elsewhere."""
    status = int(seen.path.rpartition("/")[2])
    headers = [("location", "http://127.0.0.1:9/trap")] if 300 <= status < 400 else []
    body = {"error": {"message": f"upstream error {status}"}}
    await json_response(body, status, headers)(channel, seen)


_JSON = ("content-type", "application/json")
_CHUNKED = ("transfer-encoding", "chunked")
_CHALLENGE = ("www-authenticate", "Bearer realm=upstream")
_HALF = b'{"models": [{"name": "ha'
_GOOD = b'{"ok":true}'
_GZIPPED = gzip.compress(_GOOD)


def _length(number: int) -> tuple[str, str]:
    return ("content-length", str(number))


#: Name → behaviour. Served at `/NAME`.
BEHAVIOURS: dict[str, Behaviour] = {
    "echo": echo,
    "json": json_response({"ok": True}),
    "html": complete_response(200, b"<html><body>internal.example</body></html>", "text/html"),
    "text": complete_response(200, b"Ollama is running", "text/plain"),
    "half-json": complete_response(200, _HALF),
    "half-json-short": raw(head(200, [_JSON, _length(500)]) + _HALF, "close"),
    "half-json-hang": raw(head(200, [_JSON, _length(500)]) + _HALF, "hang"),
    "half-json-reset": raw(head(200, [_JSON, _length(500)]) + _HALF, "reset"),
    "half-chunk": raw(head(200, [_JSON, _CHUNKED]) + b"b\r\n" + _GOOD + b"\r\n", "close"),
    "bad-chunk": raw(head(200, [_JSON, _CHUNKED]) + b"zz\r\n" + _GOOD + b"\r\n0\r\n\r\n", "close"),
    "until-close": raw(head(200, [_JSON]) + _GOOD, "close"),
    "chunked": raw(head(200, [_JSON, _CHUNKED]) + b'4\r\n{"ok\r\n7\r\n":true}\r\n0\r\n\r\n'),
    "empty": complete_response(200),
    "no-content": raw(head(204)),
    "not-modified": raw(head(304)),
    "null": complete_response(200, b"null"),
    "nan": complete_response(200, b'{"ok": NaN}'),
    "huge-number": complete_response(200, b'{"ok": 1e999}'),
    "huge-integer": complete_response(200, b'{"ok": ' + b"9" * 5000 + b"}"),
    "lone-surrogate": complete_response(200, b'{"ok": "\\ud800"}'),
    "bad-utf8": complete_response(200, b'{"ok": "\xff\xfe"}'),
    "bom": complete_response(200, b"\xef\xbb\xbf" + _GOOD),
    "deep": complete_response(200, b"[" * 100_000 + b"]" * 100_000),
    "deep-500": complete_response(200, b'{"ok":' + b"[" * 500 + b"]" * 500 + b"}"),
    "events": complete_response(200, b'data: {"ok": true}\n\n', "text/event-stream"),
    "gzip": complete_response(200, _GZIPPED, headers=[("content-encoding", "gzip")]),
    "gzip-broken": complete_response(200, _GZIPPED[:-12], headers=[("content-encoding", "gzip")]),
    "gzip-lie": complete_response(200, _GOOD, headers=[("content-encoding", "gzip")]),
    "gzip-bomb": complete_response(
        200, gzip.compress(b" " * (80 << 20)), headers=[("content-encoding", "gzip")]
    ),
    "slow-head": after(0.1, json_response({"ok": True})),
    "slow-body": drip(head(200, [_JSON, _length(11)]), b"1", 0.02, 11),
    "drip": drip(head(200, [_JSON, _CHUNKED]), b"1\r\n \r\n", 0.05),
    "drip-head": drip(b"HTTP/1.1 200 OK\r\n", b"x-drip: 1\r\n", 0.05),
    "hang": raw(b"", "hang"),
    "hang-in-head": raw(b"HTTP/1.1 200 OK\r\nconte", "hang"),
    "hang-in-body": raw(head(200, [_JSON, _CHUNKED]), "hang"),
    "close": raw(b"", "close"),
    "close-in-head": raw(b"HTTP/1.1 200 OK\r\nconte", "close"),
    "reset": raw(b"", "reset"),
    "garbage": raw(b"\x16\x03\x01 no HTTP at all\r\n\r\n", "close"),
    "http-0.9": raw(b"<html>hello</html>", "close"),
    "http-9": raw(b"HTTP/9.9 200 OK\r\ncontent-length: 0\r\n\r\n", "close"),
    "switching": raw(head(101, [("upgrade", "h2c"), ("connection", "upgrade")]), "close"),
    "informed": raw(head(100) + head(103, [("link", "</x>")]) + head(200, [_JSON, _length(11)]) + _GOOD),
    "informed-for-ever": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.001),
    "status-600": complete_response(600, _GOOD),
    "status-999": complete_response(999, _GOOD),
    "status-99": raw(b"HTTP/1.1 99 X\r\ncontent-length: 0\r\n\r\n", "close"),
    "status-text": raw(b"HTTP/1.1 abc X\r\ncontent-length: 0\r\n\r\n", "close"),
    "two-lengths": raw(head(200, [_JSON, _length(11), _length(7)]) + _GOOD, "close"),
    "length-negative": raw(head(200, [_JSON, _length(-1)]) + _GOOD, "close"),
    "unknown-coding": raw(head(200, [_JSON, ("transfer-encoding", "rot13")]) + _GOOD, "close"),
    "header-huge": raw(head(200, [_JSON, ("x-large", "x" * 1_000_000), _length(11)]) + _GOOD, "close"),
    "header-nul": raw(head(200, [_JSON, ("x-nul", "a\0b"), _length(11)]) + _GOOD, "close"),
    "header-name": raw(head(200, [_JSON, ("x bad", "1"), _length(11)]) + _GOOD, "close"),
    "huge": drip(head(200, [_JSON, _length(1 << 32)]), b" " * 65_536, 0),
    "endless": drip(head(200, [_JSON, _CHUNKED]), b"10000\r\n" + b" " * 65_536 + b"\r\n", 0),
    "cookie": json_response({"ok": True}, headers=[("set-cookie", "session=of-somebody; Path=/")]),
    "unauthorized": json_response({"error": "key sk-upstream-canary is not valid"}, 401, [_CHALLENGE]),
    "forbidden": json_response({"error": "account of sk-upstream-canary is blocked"}, 403),
    "busy": json_response({"error": "slow down"}, 429, [("retry-after", "7")]),
    "overloaded": json_response({"error": "overloaded"}, 503, [("retry-after", "9")]),
    "server-error": complete_response(500, b"<h1>Traceback: internal.example</h1>", "text/html"),
}

# --- The server ------------------------------------------------------------------------------------------


class _Protocol(asyncio.StreamReaderProtocol):
    """A stream protocol with an event that is set once the peer has closed."""

    def __init__(self, serve: Callable[..., Awaitable[None]]) -> None:
        self.gone = asyncio.Event()
        super().__init__(asyncio.StreamReader(limit=1 << 20), lambda r, w: serve(r, w, self.gone))

    def eof_received(self) -> bool | None:
        self.gone.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(exc)


@dataclass(slots=True)
class Upstream:
    """A running loopback upstream; use it as a context manager.

    Attributes:
        url: its URL, on a free port of 127.0.0.1.
        requests: the received requests, in order.
        connections: every connection, open and closed.
    """

    url: str = ""
    port: int = 0
    requests: list[Seen] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    _paths: dict[str, Behaviour] = field(default_factory=dict)
    _default: Behaviour = echo
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Upstream:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(PATIENCE), "the loopback upstream did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)

    def on(self, path: str, behaviour: Behaviour) -> None:
        """Sets the behaviour of a path, and of all paths below it without their own."""
        self._paths[path] = behaviour

    def otherwise(self, behaviour: Behaviour) -> None:
        """Sets the behaviour of all other paths; the default echoes the request."""
        self._default = behaviour

    def forget(self) -> None:
        """Closes every connection and resets behaviours and records to the initial state."""
        for connection in self.open:
            self._loop.call_soon_threadsafe(connection.abort)
        assert self.eventually(lambda up: not up.open), "a connection stays open"
        self._paths.clear()
        self._default = echo
        self.requests.clear()
        self.connections.clear()

    def seen(self, request_id: str) -> list[Seen]:
        """Returns the requests with this x-request-id."""
        return [seen for seen in list(self.requests) if seen.header("x-request-id") == request_id]

    @property
    def open(self) -> list[Connection]:
        """Returns the open connections."""
        return [connection for connection in list(self.connections) if connection.closed is None]

    def eventually(self, condition: Callable[[Upstream], Any], seconds: float = PATIENCE) -> bool:
        """Waits until a condition holds; returns whether it did in time."""
        return eventually(lambda: condition(self), seconds)

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Protocol(self._serve), "127.0.0.1", 0, backlog=1024)
        )
        self.port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        started.set()
        self._loop.run_forever()
        # A connection that is accepted and not begun when the server closes leaks its socket.
        self._loop.run_until_complete(asyncio.sleep(0.01))
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: asyncio.Event
    ) -> None:
        connection = Connection(len(self.connections), time.monotonic(), writer.transport.abort)
        self.connections.append(connection)
        watch = asyncio.ensure_future(self._watch(gone, connection))
        channel = Channel(writer, gone)
        try:
            while channel.keep_alive:
                seen = await _request(reader, connection)
                if seen is None:
                    await channel.send(head(400))
                    break
                self.requests.append(seen)
                await self._behaviour(seen.path)(channel, seen)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            watch.cancel()
            connection.closed = connection.closed or time.monotonic()
            with contextlib.suppress(ConnectionError):
                writer.close()

    async def _watch(self, gone: asyncio.Event, connection: Connection) -> None:
        await gone.wait()
        connection.closed = connection.closed or time.monotonic()

    def _behaviour(self, path: str) -> Behaviour:
        prefix = path
        while prefix:
            if prefix in self._paths:
                return self._paths[prefix]
            prefix = prefix.rpartition("/")[0]
        if "/status/" in path and path.rpartition("/")[2].isdigit():
            return status_of_path
        return BEHAVIOURS.get(path.rpartition("/")[2], self._default)


async def _request(reader: asyncio.StreamReader, connection: Connection) -> Seen | None:
    """Reads the next request; returns None if the client speaks TLS."""
    first = await reader.readexactly(1)
    if first == b"\x16":
        return None
    lines = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, _, rest = lines[0].partition(" ")
    fields = (line.partition(":") for line in lines[1:] if line)
    headers = [(name.lower(), value.strip()) for name, _, value in fields]
    found = dict(headers)
    if found.get("transfer-encoding", "").lower() == "chunked":
        body = b"".join([chunk async for chunk in _chunks(reader)])
    else:
        body = await reader.readexactly(int(found.get("content-length", 0)))
    connection.requests += 1
    target = rest.rpartition(" ")[0]
    return Seen(method, target, headers, body, connection.number, time.monotonic())


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readline()).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readline()
    while (await reader.readline()).strip():
        pass


def eventually(condition: Callable[[], Any], seconds: float = PATIENCE) -> bool:
    """Waits until a condition holds; returns whether it did in time. Checks a last time after the timeout."""
    end = time.monotonic() + seconds
    is_last = False
    while not condition():
        if is_last:
            return False
        is_last = time.monotonic() > end
        time.sleep(0.005)
    return True


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """Yields a URL whose connections are never established: a listening socket with a full backlog."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """Yields a URL that refuses connections: a port that is bound but not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
