"""Circuit breakers: a failing upstream is no longer called, tried at intervals, and used again on success."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.client.circuit_breaker import CircuitBreaker
from engine.errors import ExchangeError
from engine.plan import BreakerPlan
from tests.support.server import Server, dragoman_server
from tests.support.upstream import Gated, Upstream, eventually, in_turn, json_response, raw, refusing

MAPPING = """
dragoman: 1
env: { UP: {}, DEAD: {} }
upstreams:
  flaky: { url: "${ $env.UP }", breaker: { failures: 3, open: 400ms } }
  stern: { url: "${ $env.UP }", breaker: { failures: 3, open: 1h } }
  gone: { url: "${ $env.DEAD }", breaker: { failures: 3, open: 1h } }
  dead: { url: "${ $env.UP }", breaker: { failures: 20, open: 1m } }
  slow: { url: "${ $env.UP }", timeout: { total: 50ms }, breaker: { failures: 2, open: 1m } }
  picky: { url: "${ $env.UP }", breaker: 2 }
  well: { url: "${ $env.UP }" }
errors: { body: { kind: "${ kind }" } }
routes:
  GET /flaky: { call: GET flaky /flaky, respond: { body: "${ @ }" } }
  GET /stern: { call: GET stern /stern, respond: { body: "${ @ }" } }
  GET /gone: { call: GET gone /x, respond: { body: "${ @ }" } }
  GET /dead: { call: GET dead /dead, respond: { body: "${ @ }" } }
  GET /slow: { call: GET slow /hang, respond: { body: "${ @ }" } }
  GET /picky/{status}: { call: "GET picky /status/${ $request.params.status }", respond: {} }
  GET /picky: { call: GET picky /json, respond: { body: "${ @ }" } }
  GET /try:
    try:
      - { call: GET dead /dead, respond: { body: "${ @ }" } }
      - { call: GET well /json, respond: { body: "${ @ }" } }
  GET /metrics: { builtin: metrics }
"""


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with refusing() as dead, dragoman_server(MAPPING, {"UP": upstream.url, "DEAD": dead}) as running:
        yield running


def test_a_dead_upstream_is_not_called(server: Server, upstream: Upstream) -> None:
    upstream.on("/dead", json_response({}, 500))
    assert [server.get("/dead").status for _ in range(20)] == [502] * 20
    responses = [server.get("/dead") for _ in range(50)]
    assert {(response.status, response.json["kind"]) for response in responses} == {
        (503, "upstream_unavailable")
    }
    assert 1 <= int(responses[0].header("retry-after") or 0) <= 60
    response = server.get("/try")
    assert (response.status, response.json) == (200, {"ok": True})
    assert response.header("x-dragoman-upstream") == "dead;failed=upstream_unavailable, well;status=200"
    assert (
        'dragoman_upstream_breaker_open{mapping="mapping",upstream="dead"} 1.0' in server.get("/metrics").text
    )
    assert sum(seen.path == "/dead" for seen in upstream.requests) == 20


def test_an_unreachable_upstream_opens_the_breaker(server: Server) -> None:
    assert [server.get("/gone").status for _ in range(4)] == [502, 502, 502, 503]


def test_it_stays_open_for_the_configured_time(server: Server, upstream: Upstream) -> None:
    upstream.on("/stern", in_turn(*[raw(b"", "close")] * 3, json_response({"ok": True})))
    assert [server.get("/stern").status for _ in range(5)] == [502] * 3 + [503] * 2


def test_it_closes_on_the_first_success(server: Server, upstream: Upstream) -> None:
    upstream.on("/flaky", raw(b"", "close"))
    assert eventually(lambda: server.get("/flaky").status == 503)
    upstream.on("/flaky", json_response({"ok": True}))
    assert eventually(lambda: server.get("/flaky").status == 200)
    assert [server.get("/flaky").status for _ in range(5)] == [200] * 5
    states = [
        line["open"] for line in server.log() if line["event"] == "breaker" and line["upstream"] == "flaky"
    ]
    assert states == [True, False]


def test_one_trial_at_a_time(server: Server, upstream: Upstream) -> None:
    late = Gated(json_response({"ok": True}))
    upstream.on("/flaky", in_turn(*[json_response({}, 500)] * 3, late))
    for _ in range(3):
        assert server.get("/flaky").status == 502
    time.sleep(0.5)
    with ThreadPoolExecutor(8) as pool, late:
        responses = [pool.submit(server.get, "/flaky") for _ in range(8)]
        assert eventually(lambda: sum(response.done() for response in responses) == 7)
        late.release()
        statuses = sorted(response.result().status for response in responses)
    assert statuses == [200] + [503] * 7
    assert late.most == 1


def test_timeouts_count_as_failures(server: Server) -> None:
    assert [server.get("/slow").status for _ in range(3)] == [504, 504, 503]


def test_client_error_statuses_are_not_failures(server: Server) -> None:
    assert [server.get(f"/picky/{status}").status for status in (404, 429, 401, 404)] == [404, 429, 401, 404]
    assert [server.get("/picky/500").status, server.get("/picky").status] == [502, 200]
    assert [server.get("/picky/500").status, server.get("/picky").status] == [502, 200], (
        "in a row, not in all"
    )


def test_a_failed_trial_leaves_it_open() -> None:
    now = [0.0]
    breaker = CircuitBreaker("m", "u", BreakerPlan(2, 5.0), lambda: now[0])
    let_through, waits = 0, set()
    for tick in range(600):
        now[0] = tick / 10
        try:
            breaker.check()
        except ExchangeError as error:
            waits.add(dict(error.headers)["retry-after"])
        else:
            let_through += 1
            breaker.record_failure("connect")
    assert let_through == 2 + 11, "one in 5 s"
    assert waits == {"1", "2", "3", "4", "5"}
    breaker.record_failure("busy")
    now[0] += 5
    breaker.check()
    breaker.record_status(404)
    breaker.check()
    assert not breaker.is_open
