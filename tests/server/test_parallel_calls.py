"""Several calls of one route, over real sockets: parallel, bounded, cancelled when nobody waits for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.server import Server, dragoman_server, reset
from tests.support.times import A_SECOND, PATIENCE, SOON
from tests.support.upstream import (
    BEHAVIOURS,
    Channel,
    Gated,
    Seen,
    Upstream,
    eventually,
    in_turn,
    json_response,
)

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams:
  one: { url: "${ $env.UP }/one" }
  two: { url: "${ $env.UP }/two" }
  three: { url: "${ $env.UP }/three" }
errors: { body: { kind: "${ kind }", message: "${ message }" } }
routes:
  GET /all/{name}:
    calls:
      a: GET one /${ $request.params.name }
      b: GET two /${ $request.params.name }
      c: GET three /${ $request.params.name }
    respond: { body: ["${ $calls.a.body }", "${ $calls.b.body }", "${ @ }"] }
  GET /chain:
    calls:
      a: GET one /chain
      b: GET two /chain/${ $calls.a.body.n }
      c: GET three /chain/${ $calls.b.body.n }
      d: GET one /alone
    respond: { body: { c: "${ $calls.c.body.n }", d: "${ n }" } }
  POST /each:
    calls:
      item: { each: "${ ids }", upstream: one, path: "/each/${ @ }", parallel: 3 }
    respond: { body: "${ $calls.item[*].body.n }" }
  GET /failing:
    calls:
      a: GET one /hang
      b: GET two /broken
      c: { upstream: three, path: "/${ $calls.a.body.x }" }
    respond: { body: x }
  GET /slow:
    calls:
      a: { upstream: one, path: /hang, timeout: 200ms, on_error: continue }
      b: GET two /quick
    respond: { body: { kind: "${ $calls.a.error.kind }", n: "${ n }" } }
  GET /time:
    timeout: 300ms
    calls:
      a: GET one /late
      b: GET two /late/${ $calls.a.body.n }
      c: GET three /late/${ $calls.b.body.n }
    respond: { body: "${ @ }" }
  GET /cached/{name}:
    calls:
      list:
        upstream: one
        path: /list
        headers: { x-tenant: '${ $request.headers."x-tenant" }' }
        cache: 1h
        on_error: continue
    call: { upstream: two, path: "/${ $request.params.name }" }
    respond: { body: { list: "${ $calls.list.body.n }", own: "${ n }" } }
  GET /cached-briefly:
    calls: { list: { upstream: one, path: /list, cache: 100ms } }
    respond: { body: { list: "${ $calls.list.body.n }" } }
  GET /stream:
    calls:
      a: GET one /hang
      events: GET two /endless-events
    respond:
      stream_when: true
      pipeline: [{ from: ndjson }, { to: ndjson, rules: [{ emit: "${ @ }" }] }]
"""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as running:
        yield running


def test_calls_run_in_parallel(server: Server, upstream: Upstream) -> None:
    meeting = Gated(json_response({"n": 1}), wanted=3)
    for name in ("one", "two", "three"):
        upstream.on(f"/{name}/meet", meeting)
    response = server.get("/all/meet")
    assert (response.status, response.json) == (200, [{"n": 1}] * 3)
    assert meeting.most == 3, "each waited until all three had come"


def test_a_call_waits_only_for_the_calls_it_reads(server: Server, upstream: Upstream) -> None:
    order: list[str] = []
    chained = asyncio.Event()

    async def note(channel: Channel, seen: Seen) -> None:
        order.append(seen.target)
        if seen.target == "/one/alone":
            await asyncio.wait_for(chained.wait(), PATIENCE)
        elif seen.target == "/three/chain/2":
            chained.set()
        await json_response({"n": len([path for path in order if "chain" in path])})(channel, seen)

    for name in ("one", "two", "three"):
        upstream.on(f"/{name}/chain", note)
    upstream.on("/one/alone", note)
    response = server.get("/chain")
    assert response.json == {"c": 3, "d": 3}, "the independent call ended last and delayed no other"
    assert [path for path in order if "chain" in path] == ["/one/chain", "/two/chain/1", "/three/chain/2"]


def test_a_fan_out_has_its_limit_and_preserves_order(server: Server, upstream: Upstream) -> None:
    async def numbered(channel: Channel, seen: Seen) -> None:
        await channel.pause(0.02)
        await json_response({"n": int(seen.target.rpartition("/")[2])})(channel, seen)

    meeting = Gated(numbered, wanted=3)
    upstream.on("/one/each", meeting)
    response = server.post("/each", {"ids": list(range(20))})
    assert response.json == list(range(20))
    assert meeting.most == 3
    refused = server.post("/each", {"ids": list(range(1001))})
    assert refused.status == 400
    assert "1000" in refused.json["message"]
    assert len(upstream.requests) == 20, "nothing was called for too long a list"


def test_the_first_failure_is_returned_at_once_and_cancels_the_others(
    server: Server, upstream: Upstream
) -> None:
    async def broken(channel: Channel, seen: Seen) -> None:
        await channel.pause(0.2)
        channel.reset()

    upstream.on("/two/broken", broken)
    response = server.get("/failing")
    assert response.status == 502
    assert response.json["message"].startswith("the call 'b': ")
    assert response.seconds < SOON
    hanging = [seen for seen in upstream.requests if seen.target == "/one/hang"]
    assert len(hanging) == 1
    assert eventually(lambda: upstream.connections[hanging[0].connection].closed is not None, A_SECOND)


def test_each_call_has_its_own_timeout(server: Server, upstream: Upstream) -> None:
    upstream.on("/two/quick", json_response({"n": 2}))
    response = server.get("/slow")
    assert response.json == {"kind": "upstream_timeout", "n": 2}
    assert response.seconds < SOON


def test_the_timeout_of_a_route_covers_all_its_calls(server: Server, upstream: Upstream) -> None:
    async def late(channel: Channel, seen: Seen) -> None:
        if not await channel.pause(0.2):
            await json_response({"n": 1})(channel, seen)

    for name in ("one", "two", "three"):
        upstream.on(f"/{name}/late", late)
    response = server.get("/time")
    assert response.status == 504
    assert "/three/late/1" not in {seen.target for seen in upstream.requests}


@pytest.mark.parametrize("path", ["/all/hang", "/stream"])
def test_a_client_disconnect_cancels_all_calls(server: Server, upstream: Upstream, path: str) -> None:
    async def endless(channel: Channel, seen: Seen) -> None:
        await channel.send(b"HTTP/1.1 200 X\r\ncontent-type: application/x-ndjson\r\n\r\n")
        while not await channel.pause(0.01):
            await channel.send(b'{"n":1}\n')

    upstream.on("/two/endless-events", endless)
    for leave in (lambda s: s.close(), reset):
        before = len(upstream.requests)
        with ThreadPoolExecutor(10) as pool:
            sockets = list(pool.map(lambda _: _open_request(server, path), range(10)))
        wanted = 30 if path == "/all/hang" else 20
        assert eventually(lambda before=before, wanted=wanted: len(upstream.requests) >= before + wanted)
        for each in sockets:
            leave(each)
        assert upstream.eventually(lambda up: not up.open, A_SECOND)
    upstream.on("/one/fine", json_response(1))
    upstream.on("/two/fine", json_response(2))
    upstream.on("/three/fine", json_response(3))
    assert server.get("/all/fine").json == [1, 2, 3]


def _open_request(server: Server, path: str) -> object:
    connection = server.connect()
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    return connection


def test_many_exchanges_with_several_calls_do_not_mix(server: Server, upstream: Upstream) -> None:
    async def echo_target(channel: Channel, seen: Seen) -> None:
        await asyncio.sleep(0.001)
        await json_response(seen.target)(channel, seen)

    for name in ("one", "two", "three"):
        upstream.on(f"/{name}", echo_target)
    names = [f"n{number}" for number in range(100)]
    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(lambda name: server.get(f"/all/{name}").json, names))
    assert responses == [[f"/one/{name}", f"/two/{name}", f"/three/{name}"] for name in names]
    assert threading.active_count() < 50


def test_a_cached_call_is_made_once_for_the_same_request(server: Server, upstream: Upstream) -> None:
    made = iter(range(1, 100))

    async def counted(channel: Channel, seen: Seen) -> None:
        await json_response({"n": next(made)})(channel, seen)

    upstream.on("/one/list", counted)
    upstream.on("/two", json_response({"n": "own"}))
    assert server.get("/cached/a").json == {"list": 1, "own": "own"}
    assert server.get("/cached/b").json == {"list": 1, "own": "own"}, "only the list is cached"
    assert server.get("/cached/a", headers={"x-tenant": "t"}).json["list"] == 2, "what is sent differs"
    assert len([seen for seen in upstream.requests if seen.path.startswith("/two")]) == 3


def test_a_cached_call_expires(server: Server, upstream: Upstream) -> None:
    upstream.on("/one/list", in_turn(json_response({"n": 1}), json_response({"n": 2})))
    assert server.get("/cached-briefly").json == {"list": 1}
    assert eventually(lambda: server.get("/cached-briefly").json == {"list": 2}), "it has expired"


def test_a_failed_call_is_not_cached(server: Server, upstream: Upstream) -> None:
    upstream.on("/two", json_response({"n": "own"}))
    for behaviour in (
        json_response({"error": 1}, status=500),
        BEHAVIOURS["html"],
        BEHAVIOURS["half-json-short"],
    ):
        upstream.on("/one/list", behaviour)
        assert server.get("/cached/a").json == {"own": "own"}
    upstream.on("/one/list", json_response({"n": 5}))
    assert server.get("/cached/a").json["list"] == 5
