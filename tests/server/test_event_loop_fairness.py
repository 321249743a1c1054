"""Long work of one exchange does not block the event loop: a large body or response, a burst of events.

The tests count turns of the event loop, not times: while work runs in the loop itself there are none.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from engine.client.request_bodies import BufferedRequestBody
from engine.client.response_events import ResponseEvents
from engine.client.runner import ExchangeRunner
from engine.client.worker_threads import LONG_BODY, MAX_EVENTS, in_thread
from engine.exchange import EventWriter, ExchangeResult
from engine.exchange.exchange import Exchange
from engine.exchange.response_source import PumpByNext
from engine.http.messages import JSON, CompleteResponse, Content, Inbound, UpstreamResponse
from engine.plan import PlanSet
from engine.server import app
from tests.limits.exchanges import compiled

T = TypeVar("T")
MIB = 1 << 20

MAPPING = """\
upstreams: { up: { url: "http://up.example" } }
routes:
  POST /body:
    respond: { body: { $each: "${ a }", v: "${ concat('x', @) }" } }
  POST /stream:
    call: POST up /x
    respond:
      stream_when: true
      pipeline:
        - to: ndjson
          state: { count: 0 }
          rules: [ { set: { count: "${ add($state.count, `1`) }" }, emit: { v: "${ v }" } } ]
          end: [ { emit: { count: "${ $state.count }" } } ]
  POST /one:
    call: POST up /x
    respond:
      stream_when: true
      pipeline: [{ to: ndjson, rules: [ { each: "${ a }", emit: { v: "${ @ }" } } ] }]
"""


async def with_turns(work: Awaitable[T]) -> tuple[T, int]:
    """Returns the result of the work and the number of turns of other tasks meanwhile."""
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    others = asyncio.ensure_future(take_turns())
    try:
        return await work, turns
    finally:
        others.cancel()


class Burst(PumpByNext):
    """A stream's body that is available at once, in pieces as a connection delivers them."""

    def __init__(self, data: bytes, size: int = 64 * 1024) -> None:
        self._pieces = [data[at : at + size] for at in range(0, len(data), size)]
        self.next = self._next

    async def _next(self) -> bytes | None:
        return self._pieces.pop(0) if self._pieces else None

    async def content(self) -> Content:
        return Content(b"".join(self._pieces), "")

    async def aclose(self) -> None:
        self._pieces.clear()


def run_exchange_of(
    plans: PlanSet, path: str, body: bytes, source: Burst | None = None
) -> Awaitable[ExchangeResult]:
    """Runs an exchange of a relay; its upstream delivers the source at once."""
    inbound = Inbound("POST", path, headers=(("content-type", JSON),), request_id="test")
    runner = ExchangeRunner(plans)
    if source is not None:
        runner._upstreams["limited", "up"].upstream = _Upstream(source)
    return runner.run(plans.tree.find(path, "POST"), inbound, BufferedRequestBody(Content(body, JSON)))


class _Upstream:
    def __init__(self, source: Burst) -> None:
        self._source = source

    async def send(self, request: Any, streams: bool = False) -> UpstreamResponse:
        return UpstreamResponse(
            200, (("content-type", "application/x-ndjson"),), Content(b"", ""), self._source
        )

    async def aclose(self) -> None:
        """Does nothing: there is no resource."""


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        return await work()

    return asyncio.run(main())


def test_a_body_of_a_million_items_does_not_block_the_loop(tmp_path: Path) -> None:
    plans = compiled(MAPPING, tmp_path)
    body = json.dumps({"a": [1] * 1_000_000}).encode()

    async def work() -> tuple[ExchangeResult, int]:
        return await with_turns(run_exchange_of(plans, "/body", body))

    result, turns = run(work)
    assert result.error is None
    assert result.response.content.data.count(b'{"v":"x1"}') == 1_000_000
    assert result.exchange.steps_taken == 1_000_000
    assert turns > 10


def test_a_short_body_is_translated_in_the_loop(tmp_path: Path) -> None:
    plans = compiled(MAPPING, tmp_path)
    before = threading.active_count()

    async def work() -> tuple[ExchangeResult, int]:
        return await with_turns(run_exchange_of(plans, "/body", b'{"a":[1,2]}'))

    result, turns = run(work)
    assert result.response.content.data == b'[{"v":"x1"},{"v":"x2"}]'
    assert turns == 0
    assert threading.active_count() == before


def pumped(plans: PlanSet, path: str, source: Burst) -> tuple[bytes, int, list[int]]:
    """Returns what a stream writes, the turns of other tasks, and the number of events of each write."""
    parts: list[int] = []

    async def work() -> tuple[bytes, int]:
        result = await run_exchange_of(plans, path, b"{}", source)
        stream, written = result.response.stream, [b""]
        writer = EventWriter(stream.plan, result.exchange)

        def take(events: list[Any]) -> bool:
            parts.append(len(events))
            written.append(writer.write(events, stream))
            return True

        flow = ResponseEvents(result, stream)

        async def pump() -> None:
            has_more = True
            while has_more:
                has_more = await flow.pump(take)

        _, turns = await with_turns(pump())
        assert stream.error is None
        return b"".join(written), turns

    data, turns = run(work)
    return data, turns, parts


def test_a_burst_of_events_does_not_block_the_loop(tmp_path: Path) -> None:
    count = 100_000
    source = Burst(b'{"v":1}\n' * count)
    data, turns, parts = pumped(compiled(MAPPING, tmp_path), "/stream", source)
    assert data == b'{"v":1}\n' * count + b'{"count":%d}\n' % count
    assert max(parts) <= MAX_EVENTS
    assert turns >= len(parts) >= count / MAX_EVENTS


def test_an_event_that_emits_many_is_written_in_parts(tmp_path: Path) -> None:
    count = 200_000
    source = Burst(b'{"a":[' + b",".join([b"1"] * count) + b"]}\n")
    data, turns, parts = pumped(compiled(MAPPING, tmp_path), "/one", source)
    assert data.count(b"\n") == count
    assert max(parts) <= MAX_EVENTS
    assert turns >= count / MAX_EVENTS / 2


def test_single_events_are_written_at_once(tmp_path: Path) -> None:
    source = Burst(b'{"v":1}\n' * 1000, size=8)
    data, _, parts = pumped(compiled(MAPPING, tmp_path), "/stream", source)
    assert data.count(b"\n") == 1001
    assert parts == [1] * 1001


class _Cycle:
    is_writable = True

    async def send(self, message: Any) -> None:
        raise AssertionError(message)


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 5 * MIB])
def test_a_large_response_is_sent_in_pieces(size: int) -> None:
    content = Content(bytes(size), "application/octet-stream")
    response = CompleteResponse(200, (), content)
    result = ExchangeResult(Exchange(Inbound("GET", "/"), {}), response)
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def work() -> tuple[None, int]:
        cycle: Any = _Cycle()
        return await with_turns(app._send_complete(result, response, "GET", send, cycle))

    _, turns = run(work)
    pieces = [message["body"] for message in messages[1:]]
    assert b"".join(pieces) == bytes(size)
    assert max(map(len, pieces)) <= 256 * 1024
    assert [message.get("more_body") for message in messages[1:]] == [True] * (len(pieces) - 1) + [False]
    assert turns >= len(pieces) - 2
    assert result.bytes_sent == size


# --- Threads ---------------------------------------------------------------------------------------------


def test_an_exception_of_the_work_is_raised() -> None:
    def work() -> None:
        raise ValueError("from a thread")

    with pytest.raises(ValueError, match="from a thread"):
        run(lambda: in_thread(work))


def test_a_cancelled_caller_waits_for_the_end_of_the_work() -> None:
    begun, may_end, has_ended = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        may_end.wait()
        has_ended.append(True)

    async def main() -> None:
        task = asyncio.ensure_future(in_thread(work))
        await asyncio.to_thread(begun.wait)
        for _ in range(2):
            task.cancel()
            for _ in range(10):
                await asyncio.sleep(0)
            assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert has_ended

    run(main)


def test_only_a_long_body_uses_a_thread(tmp_path: Path) -> None:
    plans = compiled(MAPPING, tmp_path)
    item = b'"' + b"a" * 1000 + b'",'
    for count, is_long in ((LONG_BODY // len(item) - 1, False), (LONG_BODY // len(item) + 1, True)):
        body = b'{"a":[' + (item * count)[:-1] + b"]}"

        async def work(body: bytes = body) -> tuple[ExchangeResult, int]:
            return await with_turns(run_exchange_of(plans, "/body", body))

        result, turns = run(work)
        assert result.error is None
        assert (turns > 0) is is_long
