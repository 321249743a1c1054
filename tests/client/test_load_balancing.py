"""Several servers of one upstream: which one receives the next call, is skipped, and is used again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.upstream import Gated, Upstream, drip, eventually, head, json_response, refusing

MAPPING = """
dragoman: 1
env: { URLS: {}, HALF: {}, DEAD: {} }
upstreams:
  all: { url: "${ $env.URLS }" }
  half: { url: "${ $env.HALF }", retry: { on: [connect], wait: 1ms } }
  bare: { url: "${ $env.HALF }" }
  checked:
    url: "${ $env.HALF }"
    health: { path: /health, keep: 200ms, timeout: 30s }
    retry: { on: [connect], wait: 1ms }
  dead: { url: "${ $env.DEAD }", health: { path: /health, keep: 100ms, timeout: 30s } }
errors: { body: { kind: "${ kind }" } }
routes:
  GET /all: { call: GET all /json, respond: { body: "${ @ }" } }
  GET /slow: { call: GET all /slow, respond: { body: "${ @ }" } }
  GET /stream: { forward: all /drip }
  GET /half: { call: GET half /json, respond: { body: "${ @ }" } }
  POST /half: { call: { upstream: half, path: /echo, body: "${ @ }" }, respond: { body: "${ body }" } }
  GET /bare: { call: GET bare /json, respond: { body: "${ @ }" } }
  GET /checked: { call: GET checked /json, respond: { body: "${ @ }" } }
  GET /try:
    try:
      - { call: GET checked /json, respond: { body: "${ @ }" } }
      - { respond: { body: { none: true } } }
  GET /health: { builtin: health }
"""


@pytest.fixture
def servers() -> Iterator[list[Upstream]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Upstream()) for _ in range(3)]


@pytest.fixture
def server(servers: list[Upstream]) -> Iterator[Server]:
    with refusing() as dead, refusing() as other:
        env = {
            "URLS": ", ".join(upstream.url for upstream in servers),
            "HALF": f"{dead},{servers[0].url}",
            "DEAD": f"{dead},{other}",
        }
        with dragoman_server(MAPPING, env) as running:
            yield running


def counts(servers: list[Upstream]) -> list[int]:
    return [len(upstream.requests) for upstream in servers]


def test_equally_busy_servers_take_turns(server: Server, servers: list[Upstream]) -> None:
    assert [server.get("/all").status for _ in range(9)] == [200] * 9
    assert counts(servers) == [3, 3, 3]


def test_the_least_busy_server_receives_the_next_call(server: Server, servers: list[Upstream]) -> None:
    all_here = Gated(json_response({}), wanted=9)
    for upstream in servers:
        upstream.on("/slow", all_here)
    with ThreadPoolExecutor(9) as pool, all_here:
        statuses = list(pool.map(lambda _: server.get("/slow").status, range(9)))
    assert statuses == [200] * 9
    assert counts(servers) == [3, 3, 3]


def test_a_stream_counts_until_its_end(server: Server, servers: list[Upstream]) -> None:
    for upstream in servers:
        upstream.on("/drip", drip(head(200, [("transfer-encoding", "chunked")]), b"1\r\nx\r\n", 0.02))
    with server.connect() as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        for _ in range(8):
            assert server.get("/all").status == 200
        assert counts(servers) == [1, 4, 4]

    def is_called_again() -> bool:
        return server.get("/all").status == 200 and counts(servers)[0] > 1

    assert eventually(is_called_again), "the client has disconnected, and its slot is free"


def test_an_unreachable_server_is_skipped(server: Server, servers: list[Upstream]) -> None:
    assert [server.get("/half").status for _ in range(10)] == [200] * 10, "the retry takes another one"
    assert server.post("/half", {"x": 1}).status == 200
    statuses = [server.get("/bare").status for _ in range(10)]
    assert statuses == [502] + [200] * 9, "without a retry the first call fails, and no other"
    changes = [
        line for line in server.log() if line["event"] == "upstream_server" and line["upstream"] == "bare"
    ]
    assert [(line["server"], line["reachable"]) for line in changes] == [(1, False)]


def test_an_upstream_is_healthy_while_one_server_is(server: Server) -> None:
    reports = {report["name"]: report for report in server.get("/health").json["upstreams"]}
    assert (reports["checked"]["healthy"], reports["dead"]["healthy"]) == (True, False)
    assert [server.get("/checked").status for _ in range(4)] == [200] * 4
    assert [server.get("/try").json for _ in range(4)] == [{"ok": True}] * 4


def test_a_recovered_server_is_used_again() -> None:
    let = threading.Event()
    with Upstream() as one, Upstream() as two:

        async def health(channel: object, seen: object) -> None:
            await json_response({}, 200 if let.is_set() else 500)(channel, seen)  # type: ignore[arg-type]

        one.on("/health", health)
        env = {"URLS": one.url, "HALF": f"{one.url},{two.url}", "DEAD": one.url}
        with dragoman_server(MAPPING, env) as server:
            assert server.get("/health").json["status"] == "degraded"
            assert [server.get("/checked").status for _ in range(4)] == [200] * 4
            assert [seen.path for seen in one.requests if seen.path == "/json"] == []
            let.set()

            def is_used_again() -> bool:
                server.get("/checked")
                return any(seen.path == "/json" for seen in one.requests)

            assert eventually(is_used_again)
