"""Connections are reused, limited, queued for and never lost, whatever is cancelled and closed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from engine.client import resolver
from engine.client.http1 import Http1Upstream
from engine.errors import ExchangeError
from tests.support.calls import both_loops, call, open_files, opened, run
from tests.support.times import A_SECOND, PATIENCE, SOON
from tests.support.upstream import (
    Channel,
    Gated,
    Seen,
    Upstream,
    after,
    black_hole,
    eventually,
    json_response,
    raw,
    refusing,
)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@both_loops
def test_a_connection_is_reused(upstream: Upstream, loop: str) -> None:
    async def work() -> None:
        async with opened(upstream.url) as up:
            for _ in range(50):
                assert (await up.send(call("/json"))).content.value == {"ok": True}

    run(work, loop)
    assert len(upstream.connections) == 1
    assert upstream.eventually(lambda up: not up.open), "closing closes it"


@both_loops
def test_the_limit_holds_and_waiting_calls_are_served_in_order(upstream: Upstream, loop: str) -> None:
    upstream.on("/slow", after(0.02, json_response({"ok": True})))
    order: list[int] = []

    async def work() -> None:
        async with opened(upstream.url, connections=3) as up:

            async def one(number: int) -> None:
                assert (await up.send(call("/slow"))).status == 200
                order.append(number)

            await asyncio.gather(*map(one, range(30)))

    run(work, loop)
    assert len(upstream.connections) == 3
    assert all(abs(number - index) < 3 for index, number in enumerate(order)), order


@both_loops
def test_a_call_that_waits_too_long_receives_retry_after(upstream: Upstream, loop: str) -> None:
    async def work() -> None:
        async with opened(upstream.url, connections=1, connect=0.2) as up:
            await connected(up)
            held = asyncio.ensure_future(up.send(call("/hang")))
            assert await asyncio.to_thread(upstream.eventually, lambda up: up.requests[-1].path == "/hang")
            started = time.monotonic()
            with pytest.raises(ExchangeError) as caught:
                await up.send(call("/json"))
            assert 0.15 < time.monotonic() - started < SOON
            assert caught.value.kind == "upstream_unavailable"
            assert caught.value.headers == (("retry-after", "1"),)
            with pytest.raises(ExchangeError) as caught:
                await up.send(call("/json", timeout=0.05))
            assert caught.value.kind == "upstream_timeout", "the whole call has less time than that"
            held.cancel()
            await asyncio.wait([held])
            await connected(up)

    run(work, loop)


async def connected(up: Http1Upstream) -> None:
    """Opens a connection, however long a slow machine takes."""
    while not up._pool._idle:
        with contextlib.suppress(ExchangeError):
            assert (await up.send(call("/json"))).status == 200


@both_loops
def test_ten_thousand_cancelled_calls_release_their_slots(upstream: Upstream, loop: str) -> None:
    upstream.on("/slow", after(0.001, json_response({"ok": True})))
    chance = random.Random(5)

    async def work() -> None:
        async with opened(upstream.url, connections=10) as up:
            for _ in range(100):
                tasks = [
                    asyncio.ensure_future(up.send(call(chance.choice(["/json", "/slow", "/hang"]))))
                    for _ in range(100)
                ]
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(chance.choice([0, 0, 0.001]))
                chance.shuffle(tasks)
                for task in tasks:
                    task.cancel()
                    if chance.random() < 0.1:
                        await asyncio.sleep(0)
                await asyncio.gather(*tasks, return_exceptions=True)
            responses = await asyncio.gather(*(up.send(call("/json")) for _ in range(50)))
            assert [response.status for response in responses] == [200] * 50
            assert up._pool._free_slots + len(up._pool._idle) == 10
            assert not up._pool._busy
            assert not up._pool._waiting

    before = open_files() if sys.platform == "linux" else 0
    run(work, loop)
    assert upstream.eventually(lambda up: not up.open)
    assert sys.platform != "linux" or eventually(lambda: open_files() <= before + 2)


@both_loops
def test_a_cancelled_call_disconnects_at_once(upstream: Upstream, loop: str) -> None:
    async def work() -> None:
        async with opened(upstream.url) as up:
            for count, path in enumerate(("/hang", "/hang-in-head", "/hang-in-body", "/drip")):
                task = asyncio.ensure_future(up.send(call(path)))
                assert await asyncio.to_thread(eventually, lambda count=count: len(upstream.requests) > count)
                await asyncio.sleep(0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await asyncio.to_thread(upstream.eventually, lambda up: not up.open, A_SECOND), path

    run(work, loop)


@both_loops
def test_idle_connections_expire(upstream: Upstream, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.client.http1.IDLE_SECONDS", 0.1)
    upstream.on("/five", Gated(json_response({"ok": True}), wanted=5))

    async def work() -> None:
        async with opened(upstream.url) as up:
            await asyncio.gather(*(up.send(call("/five")) for _ in range(5)))
            assert len(upstream.connections) == 5
            assert await asyncio.to_thread(upstream.eventually, lambda up: not up.open, SOON)
            assert await asyncio.to_thread(eventually, lambda: up._pool._free_slots == 200)
            assert not up._pool._idle
            assert (await up.send(call("/json"))).status == 200

    run(work, loop)


@both_loops
def test_closing_ends_running_and_waiting_calls(upstream: Upstream, loop: str) -> None:
    async def work() -> None:
        async with opened(upstream.url, connections=1) as up:
            tasks = [asyncio.ensure_future(up.send(call("/hang"))) for _ in range(3)]
            assert await asyncio.to_thread(upstream.eventually, lambda up: up.requests)
            await up.aclose()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(result, ExchangeError)

    run(work, loop)
    assert upstream.eventually(lambda up: not up.open)


# --- Closed while idle -----------------------------------------------------------------------------------


def closing_soon(chance: random.Random) -> object:
    """Responds, and closes up to 5 ms later."""

    async def behave(channel: Channel, seen: Seen) -> None:
        await json_response({"ok": True})(channel, seen)
        if chance.random() < 0.5:
            await channel.pause(chance.random() * 0.005)
            channel.keep_alive = False

    return behave


@both_loops
def test_two_thousand_calls_while_connections_are_closed_at_random(upstream: Upstream, loop: str) -> None:
    chance = random.Random(1)
    upstream.on("/soon", closing_soon(chance))  # type: ignore[arg-type]
    outcomes: Counter[str] = Counter()

    async def work() -> None:
        async with opened(upstream.url, connections=20) as up:

            async def some(number: int) -> None:
                for index in range(100):
                    await asyncio.sleep(chance.random() * 0.005)
                    assert (await up.send(call("/soon"))).status == 200
                    name = f"/soon/{number}-{index}"
                    try:
                        await up.send(call(name, "POST", b"{}"))
                        outcomes["succeeded"] += 1
                    except ExchangeError as error:
                        outcomes[error.kind] += 1

            await asyncio.gather(*map(some, range(20)))

    run(work, loop)
    posted = Counter(seen.target for seen in upstream.requests if seen.method == "POST")
    assert set(posted.values()) == {1}, "nothing is posted twice"
    assert sum(outcomes.values()) == 2000
    assert set(outcomes) <= {"succeeded", "upstream_error"}
    assert len(posted) >= outcomes["succeeded"] > 500, outcomes


@pytest.mark.parametrize(
    ("method", "requests"), [("GET", 2), ("PUT", 2), ("DELETE", 2), ("POST", 1), ("PATCH", 1)]
)
@pytest.mark.parametrize("then", ["close", "reset"])
def test_a_repeatable_request_is_sent_once_more(
    upstream: Upstream, method: str, requests: int, then: str
) -> None:
    upstream.on("/gone", raw(b"", then))

    async def work() -> None:
        async with opened(upstream.url) as up:
            assert (await up.send(call("/json"))).status == 200
            with pytest.raises(ExchangeError) as caught:
                await up.send(call("/gone", method))
            assert caught.value.kind == "upstream_error"
            with pytest.raises(ExchangeError):
                await up.send(call("/gone", method))
            assert (await up.send(call("/json"))).status == 200

    run(work)
    assert len([seen for seen in upstream.requests if seen.path == "/gone"]) == requests + 1


def test_a_request_with_a_partial_response_is_not_sent_again(upstream: Upstream) -> None:
    upstream.on("/half", raw(b"HTTP/1.1 200 O", "close"))

    async def work() -> None:
        async with opened(upstream.url) as up:
            assert (await up.send(call("/json"))).status == 200
            with pytest.raises(ExchangeError):
                await up.send(call("/half"))

    run(work)
    assert len(upstream.requests) == 2


# --- Connecting ------------------------------------------------------------------------------------------


@both_loops
def test_connections_that_are_never_established(loop: str) -> None:
    async def work(url: str, kind: str, cause: str, connect: float = PATIENCE) -> None:
        async with opened(url, connect=connect) as up:
            started = time.monotonic()
            with pytest.raises(ExchangeError) as caught:
                await up.send(call())
            assert time.monotonic() - started < SOON
            assert caught.value.kind == kind
            assert caught.value.cause == cause
            assert up._pool._free_slots == 200

    with refusing() as closed, black_hole() as hole:
        run(lambda: work(closed, "upstream_error", "ConnectionRefusedError: Connection refused"), loop)
        run(lambda: work(closed.replace("127.0.0.1", "localhost"), "upstream_error",
                         "ConnectionRefusedError: Connection refused"), loop)  # fmt: skip
        run(lambda: work(hole, "upstream_timeout", "connect", 0.3), loop)


@both_loops
def test_a_name_with_two_addresses_of_which_one_is_silent(
    upstream: Upstream, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One listens and responds; packets to the other are dropped."""
    addresses = [("192.0.2.1", 0), ("127.0.0.1", 0)]
    monkeypatch.setattr(resolver, "system_lookup", lambda host: [(2, 1, 6, "", each) for each in addresses])

    async def work() -> None:
        started = time.monotonic()
        async with opened(f"http://two.invalid:{upstream.port}") as up:
            assert (await up.send(call("/json"))).status == 200
        assert time.monotonic() - started < SOON

    run(work, loop)
