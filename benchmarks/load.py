"""The load generator: keep-alive connections in one event loop, with a parser of its own.

Contract: a response that differs from the fully checked one (status, length within a tenth, number of lines)
raises `WrongResponse`. Each function runs one slice in a new event loop. A slice lasts until there is
something to count, however slow the server is; nothing within `_SLOWEST_SECONDS` is a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import re
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import httptools
import uvloop

from benchmarks.requests import Request

CONNECTIONS = 64
PACED_STREAMS = 100
IDLE_STREAMS = 2000

_SETTLE_SECONDS = 0.5
_WARM_UP_SECONDS = 0.3
_SLOWEST_SECONDS = 60.0
_AT_ONCE = 50
_SENT_AT = re.compile(rb'"content": ?"(\d{9,})"')

T = TypeVar("T")


class WrongResponse(Exception):
    """A response is not the expected one."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The length and number of lines of every correct response to a request."""

    length: int
    lines: int

    def matches(self, status: int, length: int, lines: int) -> bool:
        """Whether a response has status 200, about this length, and as many lines."""
        return status == 200 and lines == self.lines and abs(length - self.length) * 10 <= self.length


def checked(port: int, request: Request, seconds: float = _SLOWEST_SECONDS) -> Expected:
    """Send a request once and check the complete response.

    Raises:
        WrongResponse: it is wrong.
        OSError: there was no response.
    """
    status, body = once(port, request, seconds)
    try:
        assert status == 200, f"status {status}"
        assert request.check is not None
        request.check(body)
    except Exception as error:
        raise WrongResponse(f"{request.method} {request.path}: {error!r} in {body[:500]!r}") from error
    return Expected(len(body), body.count(b"\n"))


def once(port: int, request: Request, seconds: float) -> tuple[int, bytes]:
    """The status and body of the response to one request, on a new connection."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)) as connection:
        headers = {"content-type": "application/json", **dict(request.headers)}
        connection.request(request.method, request.path, request.data or None, headers)
        response = connection.getresponse()
        try:
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise WrongResponse(repr(error)) from error


class Connection(asyncio.Protocol):
    """A connection that repeats one request until `until` (of `time.perf_counter`).

    Attributes:
        responses: the number of complete responses.
        lines: the number of lines received.
        firsts: the seconds to the first byte of each body.
        delays: the nanoseconds from the sending of each timed chunk to its arrival.
        first: the status, set by the first line, timed chunk or complete response; 0 if the connection ended
            before.
        ended: set when the connection has ended, with the error if there was one.
    """

    def __init__(
        self, request: Request, expected: Expected | None, until: float, timed: bool = False
    ) -> None:
        self._request = request.encoded
        self._expected = expected
        self._until = until
        self._receive = self._count_delays if timed else self._count_lines
        self._parser = httptools.HttpResponseParser(self)
        self._started = 0.0
        self._length = self._newlines = 0
        self.responses = self.lines = 0
        self.firsts: list[float] = []
        self.delays: list[int] = []
        self.first = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(WrongResponse("the connection was closed before the end of a response"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(WrongResponse(repr(error)))

    def _send(self) -> None:
        self._length = self._newlines = 0
        self._started = time.perf_counter()
        self.transport.write(self._request)

    def on_body(self, data: bytes) -> None:
        if not self._length:
            self.firsts.append(time.perf_counter() - self._started)
        self._length += len(data)
        self._receive(data)

    def _count_lines(self, data: bytes) -> None:
        newlines = data.count(b"\n")
        self._newlines += newlines
        self.lines += newlines
        if newlines:
            self._set_first()

    def _count_delays(self, data: bytes) -> None:
        now = time.monotonic_ns()
        found = [now - int(sent) for sent in _SENT_AT.findall(data)]
        self.delays += found
        if found:
            self._set_first()

    def reset_delays(self) -> None:
        """Discard the delays measured so far."""
        self.delays.clear()
        self.first = asyncio.get_running_loop().create_future()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._expected and not self._expected.matches(status, self._length, self._newlines):
            found = f"status {status}, {self._length} bytes, {self._newlines} lines"
            self._end(WrongResponse(f"{found} instead of {self._expected}"))
            return
        self.responses += 1
        self._set_first()
        if time.perf_counter() < self._until:
            self._send()
        else:
            self._end(None)

    def _set_first(self, status: int | None = None) -> None:
        """Set `first`, if it is not set yet."""
        if not self.first.done():
            self.first.set_result(self._parser.get_status_code() if status is None else status)

    def _end(self, error: Exception | None) -> None:
        self._set_first(0)
        if not self.ended.done():
            self.ended.set_result(None) if error is None else self.ended.set_exception(error)
        self.transport.close()


@contextlib.asynccontextmanager
async def connections(
    port: int, count: int, *arguments: Any, **options: Any
) -> AsyncIterator[list[Connection]]:
    """Open `count` connections; they are aborted at the end of the block."""
    loop = asyncio.get_running_loop()
    opened: list[Connection] = []
    try:
        for _ in range(count):
            _, protocol = await loop.create_connection(
                lambda: Connection(*arguments, **options), "127.0.0.1", port
            )
            opened.append(protocol)
        yield opened
    finally:
        for each in opened:
            each.ended.cancel()
            each.first.cancel()
            each.transport.abort()
        await asyncio.sleep(0)


async def _wait_for_first(opened: list[Connection]) -> None:
    """Wait until there is something to count: a slow server may take longer than the slice."""
    firsts = [each.first for each in opened]
    await asyncio.wait(firsts, timeout=_SLOWEST_SECONDS, return_when=asyncio.FIRST_COMPLETED)


async def _settle(opened: list[Connection]) -> None:
    """Wait up to `_SETTLE_SECONDS` for responses in progress to end."""
    done, _ = await asyncio.wait([each.ended for each in opened], timeout=_SETTLE_SECONDS)
    for future in done:
        future.result()


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers of responses and stream events within `seconds`, and in all, including later ones."""

    seconds: float
    responses: int
    events: float
    all_responses: int
    all_events: float


async def _counts(port: int, request: Request, expected: Expected, seconds: float) -> Counts:
    started = time.perf_counter()
    async with connections(port, CONNECTIONS, request, expected, started + seconds) as opened:
        await asyncio.sleep(started + seconds - time.perf_counter())
        await _wait_for_first(opened)
        taken = time.perf_counter() - started
        within = _counted(opened, request)
        await _settle(opened)
        return Counts(taken, *within, *_counted(opened, request))


def _counted(opened: list[Connection], request: Request) -> tuple[int, float]:
    return sum(each.responses for each in opened), sum(each.lines for each in opened) / request.lines


async def _first_event(port: int, request: Request, expected: Expected, seconds: float) -> float:
    async with connections(port, 1, request, expected, time.perf_counter() + seconds) as (only,):
        await asyncio.wait_for(only.ended, seconds + _SLOWEST_SECONDS)
        return statistics.median(only.firsts)


async def _paced(port: int, request: Request, seconds: float) -> float:
    async with connections(port, PACED_STREAMS, request, None, 0.0, timed=True) as opened:
        await asyncio.sleep(_WARM_UP_SECONDS)
        for each in opened:
            each.reset_delays()
        await asyncio.sleep(seconds)
        await _wait_for_first(opened)
        delays = [delay for each in opened for delay in each.delays]
    if not delays:
        raise WrongResponse("no chunk arrived")
    return statistics.median(delays) / 1e9


async def _idle(port: int, request: Request, streams: int, memory: Callable[[], int]) -> tuple[float, int]:
    held: list[Connection] = []
    async with contextlib.AsyncExitStack() as stack:
        before = memory()
        while len(held) < streams:
            opened = await stack.enter_async_context(
                connections(port, min(_AT_ONCE, streams - len(held)), request, None, 0.0)
            )
            await asyncio.wait_for(asyncio.gather(*(each.first for each in opened)), _SLOWEST_SECONDS)
            if any(each.first.result() != 200 for each in opened):
                break
            held += opened
        await asyncio.sleep(0.5)
        return memory() - before, len(held)


def counts(port: int, request: Request, expected: Expected, seconds: float) -> Counts:
    """Counts responses and stream events over `CONNECTIONS` connections, which send requests back to back."""
    return _run(_counts(port, request, expected, seconds))


def first_event(port: int, request: Request, expected: Expected, seconds: float) -> float:
    """The median seconds from a request to the first byte of the body, over one connection."""
    return _run(_first_event(port, request, expected, seconds))


def paced(port: int, request: Request, seconds: float) -> float:
    """The median seconds from the sending of a chunk to its arrival, over `PACED_STREAMS` streams."""
    return _run(_paced(port, request, seconds))


def idle(port: int, request: Request, streams: int, memory: Callable[[], int]) -> tuple[float, int]:
    """The growth of `memory()` with idle streams, and the number of streams that were open."""
    return _run(_idle(port, request, streams, memory))


def _run(work: Coroutine[Any, Any, T]) -> T:
    with _without_gc():
        return uvloop.run(work)


@contextlib.contextmanager
def _without_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
