"""The load generator: keep-alive connections in one loop, with a parser of its own.

Contract: an answer that differs from what the full check saw (status, length within a tenth, number of lines)
raises `WrongAnswer`. Each function runs one slice in an event loop of its own, which lasts until there is
something to count, however slow the server is; `_SLOWEST_SECONDS` without anything is a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import re
import statistics
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import httptools
import uvloop

from benchmarks.requests import Ask

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
    """An answer is not what it should be."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What every right answer to an ask has."""

    length: int
    lines: int

    def holds(self, status: int, length: int, lines: int) -> bool:
        return status == 200 and lines == self.lines and abs(length - self.length) * 10 <= self.length


def checked(port: int, ask: Ask, seconds: float = _SLOWEST_SECONDS) -> Expected:
    """Ask once and check the whole answer.

    Raises:
        WrongAnswer: it is not right.
        OSError: there was none.
    """
    status, body = once(port, ask, seconds)
    try:
        assert status == 200, f"status {status}"
        assert ask.check is not None
        ask.check(body)
    except Exception as error:
        raise WrongResponse(f"{ask.method} {ask.path}: {error!r} in {body[:500]!r}") from error
    return Expected(len(body), body.count(b"\n"))


def once(port: int, ask: Ask, seconds: float) -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)) as connection:
        headers = {"content-type": "application/json", **dict(ask.headers)}
        connection.request(ask.method, ask.path, ask.data or None, headers)
        response = connection.getresponse()
        try:
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise WrongResponse(repr(error)) from error


class Asking(asyncio.Protocol):
    """A connection that asks one thing over and over, until `until` (of `time.perf_counter`).

    `answers` and `lines` count what came; `firsts` holds the seconds to each first byte of a body, `delays`
    those between the sending of a chunk and its coming. `first` is the status, once a line, a timed chunk or
    an answer came, or 0 where none will.
    """

    def __init__(self, ask: Ask, expected: Expected | None, until: float, timed: bool = False) -> None:
        self._request = ask.request
        self._expected = expected
        self._until = until
        self._receive = self._take_timed if timed else self._take
        self._parser = httptools.HttpResponseParser(self)
        self._started = 0.0
        self._length = self._newlines = 0
        self.answers = self.lines = 0
        self.firsts: list[float] = []
        self.delays: list[int] = []
        self.first = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(WrongResponse("the connection was closed before the end of an answer"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(WrongResponse(repr(error)))

    def _ask(self) -> None:
        self._length = self._newlines = 0
        self._started = time.perf_counter()
        self.transport.write(self._request)

    def on_body(self, data: bytes) -> None:
        if not self._length:
            self.firsts.append(time.perf_counter() - self._started)
        self._length += len(data)
        self._receive(data)

    def _take(self, data: bytes) -> None:
        newlines = data.count(b"\n")
        self._newlines += newlines
        self.lines += newlines
        if newlines:
            self._something()

    def _take_timed(self, data: bytes) -> None:
        now = time.monotonic_ns()
        found = [now - int(sent) for sent in _SENT_AT.findall(data)]
        self.delays += found
        if found:
            self._something()

    def forget(self) -> None:
        """Count the delays of what comes from now on alone."""
        self.delays.clear()
        self.first = asyncio.get_running_loop().create_future()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._expected and not self._expected.holds(status, self._length, self._newlines):
            found = f"status {status}, {self._length} bytes, {self._newlines} lines"
            self._end(WrongResponse(f"{found} in the place of {self._expected}"))
            return
        self.answers += 1
        self._something()
        if time.perf_counter() < self._until:
            self._ask()
        else:
            self._end(None)

    def _something(self, status: int | None = None) -> None:
        """There is something to count, or an end."""
        if not self.first.done():
            self.first.set_result(self._parser.get_status_code() if status is None else status)

    def _end(self, error: Exception | None) -> None:
        self._something(0)
        if not self.ended.done():
            self.ended.set_result(None) if error is None else self.ended.set_exception(error)
        self.transport.close()


@contextlib.asynccontextmanager
async def asking(port: int, count: int, *arguments: Any, **options: Any) -> AsyncIterator[list[Asking]]:
    """So many connections; aborted at the end of the block."""
    loop = asyncio.get_running_loop()
    opened: list[Asking] = []
    try:
        for _ in range(count):
            _, protocol = await loop.create_connection(
                lambda: Asking(*arguments, **options), "127.0.0.1", port
            )
            opened.append(protocol)
        yield opened
    finally:
        for each in opened:
            each.ended.cancel()
            each.first.cancel()
            each.transport.abort()
        await asyncio.sleep(0)


async def _anything(opened: list[Asking]) -> None:
    """A slow server may take longer than the whole slice: then there is nothing to count yet."""
    firsts = [each.first for each in opened]
    await asyncio.wait(firsts, timeout=_SLOWEST_SECONDS, return_when=asyncio.FIRST_COMPLETED)


async def _settle(opened: list[Asking]) -> None:
    """Let answers under way come to their end, for a while."""
    done, _ = await asyncio.wait([each.ended for each in opened], timeout=_SETTLE_SECONDS)
    for future in done:
        future.result()


@dataclass(frozen=True, slots=True)
class Counts:
    """Responses and stream events: how many in `seconds`, and in all, those completed afterwards included."""

    seconds: float
    responses: int
    events: float
    all_responses: int
    all_events: float


async def _counts(port: int, ask: Ask, expected: Expected, seconds: float) -> Counts:
    started = time.perf_counter()
    async with asking(port, CONNECTIONS, ask, expected, started + seconds) as opened:
        await asyncio.sleep(started + seconds - time.perf_counter())
        await _anything(opened)
        taken = time.perf_counter() - started
        within = _counted(opened, ask)
        await _settle(opened)
        return Counts(taken, *within, *_counted(opened, ask))


def _counted(opened: list[Asking], ask: Ask) -> tuple[int, float]:
    return sum(each.answers for each in opened), sum(each.lines for each in opened) / ask.lines


async def _first_event(port: int, ask: Ask, expected: Expected, seconds: float) -> float:
    async with asking(port, 1, ask, expected, time.perf_counter() + seconds) as (only,):
        await asyncio.wait_for(only.ended, seconds + _SLOWEST_SECONDS)
        return statistics.median(only.firsts)


async def _paced(port: int, ask: Ask, seconds: float) -> float:
    async with asking(port, PACED_STREAMS, ask, None, 0.0, timed=True) as opened:
        await asyncio.sleep(_WARM_UP_SECONDS)
        for each in opened:
            each.forget()
        await asyncio.sleep(seconds)
        await _anything(opened)
        delays = [delay for each in opened for delay in each.delays]
    if not delays:
        raise WrongResponse("no chunk came")
    return statistics.median(delays) / 1e9


async def _idle(port: int, ask: Ask, streams: int, weigh: Any) -> tuple[float, int]:
    held: list[Asking] = []
    async with contextlib.AsyncExitStack() as stack:
        before = weigh()
        while len(held) < streams:
            opened = await stack.enter_async_context(
                asking(port, min(_AT_ONCE, streams - len(held)), ask, None, 0.0)
            )
            await asyncio.wait_for(asyncio.gather(*(each.first for each in opened)), _SLOWEST_SECONDS)
            if any(each.first.result() != 200 for each in opened):
                break
            held += opened
        await asyncio.sleep(0.5)
        return weigh() - before, len(held)


def counts(port: int, ask: Ask, expected: Expected, seconds: float) -> Counts:
    """Responses and stream events over `CONNECTIONS` connections, each sending its next request at once."""
    return _run(_counts(port, ask, expected, seconds))


def first_event(port: int, ask: Ask, expected: Expected, seconds: float) -> float:
    """Median seconds from the request to the first byte of the body, one request after the other."""
    return _run(_first_event(port, ask, expected, seconds))


def paced(port: int, ask: Ask, seconds: float) -> float:
    """Median seconds from the sending of a chunk to its coming, over `PACED_STREAMS` streams."""
    return _run(_paced(port, ask, seconds))


def idle(port: int, ask: Ask, streams: int, weigh: Any) -> tuple[float, int]:
    """By how much `weigh()` grows with open streams that are silent, and how many were held."""
    return _run(_idle(port, ask, streams, weigh))


def _run(work: Coroutine[Any, Any, T]) -> T:
    with _no_collection():
        return uvloop.run(work)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
