"""Attempts, retries, the health of upstreams and cached responses, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.server import Server, dragoman_server
from tests.support.times import PATIENCE, SOON
from tests.support.upstream import (
    Behaviour,
    Channel,
    Seen,
    Upstream,
    complete_response,
    eventually,
    json_response,
    refusing,
)

MAPPING = """
dragoman: 1
env: { UP: {}, DEAD: {}, KEYS: {} }
auth: { bearer: "${ $env.KEYS }" }
upstreams:
  dead: { url: "${ $env.DEAD }" }
  slow: { url: "${ $env.UP }", timeout: { read: 3s } }
  up: { url: "${ $env.UP }", retry: { attempts: 3, on: [connect, 503, broken], wait: 20ms } }
  watched: { url: "${ $env.UP }", health: { path: /up, keep: 100ms }, timeout: { read: 200ms } }
  plain: { url: "${ $env.UP }", health: { path: /plain-up, timeout: 30s } }
  other: { url: "${ $env.UP }", health: { path: /other-up, timeout: 30s } }
  gone: { url: "${ $env.DEAD }", health: { path: /up, timeout: 30s } }
errors: { body: { kind: "${ kind }", message: "${ message }" } }
routes:
  GET /first/{name}:
    try:
      - { call: "GET dead /x", respond: { body: dead } }
      - { call: "GET slow /${ $request.params.name }", respond: { body: { slow: "${ @ }" } } }
      - { call: "GET up /fine", respond: { body: { up: "${ @ }" } } }
  POST /passed/{name}:
    try:
      - { forward: "slow /${ $request.params.name }" }
      - { forward: up /second }
  GET /passed/{name}:
    try:
      - { forward: "slow /${ $request.params.name }" }
      - { call: GET up /fine, respond: { body: { up: "${ @ }" } } }
  GET /passed-or-dead/{name}:
    try:
      - { forward: "up /${ $request.params.name }" }
      - { call: GET dead /x, respond: { body: x } }
  GET /passed-last/{name}:
    try:
      - { call: GET dead /x, respond: { body: x } }
      - { forward: "up /${ $request.params.name }" }
      - { when: "${ $request.query.never }", respond: { body: never } }
  GET /again/{name}: { call: "GET up /${ $request.params.name }", respond: { body: "${ @ }" } }
  POST /again/{name}:
    call: { upstream: up, path: "/${ $request.params.name }", body: {} }
    respond: { body: "${ @ }" }
  GET /watched:
    try:
      - { call: "GET watched /work", respond: { body: watched } }
      - { call: "GET up /fine", respond: { body: up } }
  GET /health: { builtin: health, auth: none }
  GET /metrics: { builtin: metrics, auth: none }
  GET /cached:
    cache: 1h
    call: GET up /count
    respond: { body: { n: "${ @ }", q: "${ $request.query.q }" } }
  GET /cached/briefly: { cache: 100ms, call: GET up /count, respond: { body: "${ @ }" } }
  GET /cached/by:
    cache: 1m
    call: GET up /count
    respond: { body: { n: "${ @ }", t: "${ $request.headers.\\"x-tenant\\" }" } }
  POST /cached:
    cache: 1m
    call: { upstream: up, path: /count, body: { a: "${ a }" } }
    respond: { body: "${ @ }" }
  GET /cached/failing: { cache: 1m, call: "GET up /status/404", respond: { body: x } }
"""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        running.on("/fine", json_response({"fine": True}))
        yield running


@pytest.fixture
def server(upstream: Upstream) -> Iterator[Server]:
    with refusing() as dead, dragoman_server(MAPPING, {"UP": upstream.url, "DEAD": dead}) as running:
        yield running


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Uses the next behaviour for each request and repeats the last one."""
    left = list(behaviours)

    async def behave(channel: Channel, seen: Seen) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(channel, seen)

    return behave


async def reset(channel: Channel, seen: Seen) -> None:
    channel.reset()


# --- Attempts and retries --------------------------------------------------------------------------------


def test_a_failure_before_the_first_byte_starts_the_next_attempt(server: Server, upstream: Upstream) -> None:
    upstream.on("/well", json_response(1))
    response = server.get("/first/well")
    assert response.json == {"slow": 1}
    assert response.header("x-dragoman-upstream") == "dead;failed=upstream_error, slow;status=200"
    response = server.get("/first/hang")
    assert response.json == {"up": {"fine": True}}
    assert response.header("x-dragoman-upstream") == (
        "dead;failed=upstream_error, slow;failed=upstream_timeout, up;status=200"
    )
    line = server.logged(response.header("x-request-id") or "")
    assert line["attempt_outcomes"] == ["dead: upstream_error", "slow: upstream_timeout", "up: 200"]
    assert line["upstream"] == "up"


@pytest.mark.parametrize("status", [500, 503, 404, 400, 302])
def test_a_status_starts_the_next_forward(server: Server, upstream: Upstream, status: int) -> None:
    upstream.on("/first-try", complete_response(status, b"theirs", "text/plain"))
    response = server.get("/passed/first-try")
    assert (response.status, response.json) == (200, {"up": {"fine": True}})
    assert response.header("x-dragoman-upstream") == f"slow;status={status}, up;status=200"


@pytest.mark.parametrize("status", [200, 206, 304])
def test_a_successful_forward_ends_the_route(server: Server, upstream: Upstream, status: int) -> None:
    upstream.on("/first-try", complete_response(status, b"" if status == 304 else b"theirs", "text/plain"))
    response = server.get("/passed/first-try")
    assert (response.status, response.text) == (status, "" if status == 304 else "theirs")
    assert response.header("x-dragoman-upstream") == f"slow;status={status}"


def test_the_last_forward_returns_its_response_unchanged(server: Server, upstream: Upstream) -> None:
    upstream.on("/last", complete_response(500, b"<h1>theirs</h1>", "text/html", [("x-own", "1")]))
    response = server.get("/passed-last/last")
    assert (response.status, response.text, response.header("x-own")) == (500, "<h1>theirs</h1>", "1")
    assert response.header("x-dragoman-upstream") == "dead;failed=upstream_error, up;status=500"
    response = server.get("/passed-or-dead/last")
    assert (response.status, response.json["kind"]) == (502, "upstream_error"), (
        "the last failure is the one of the call"
    )
    assert upstream.eventually(lambda up: len(up.open) <= 1), "only an idle one stays open"


def test_the_next_forward_sends_the_body_again(server: Server, upstream: Upstream) -> None:
    """Unchanged, even if it is not JSON; the part that a failing upstream has read is not lost."""
    body = bytes(range(256)) * 4096
    upstream.on("/takes", complete_response(503, b"busy", "text/plain"))
    upstream.on("/resets", reset)
    upstream.on("/second", complete_response(200, b"taken", "text/plain"))
    for number, name in enumerate(("takes", "resets")):
        fields = {"content-type": "application/octet-stream", "x-request-id": f"again-{number}"}
        assert server.post(f"/passed/{name}", body, headers=fields).text == "taken"
        assert [seen.body == body for seen in upstream.seen(f"again-{number}")] == [True, True]
        assert {seen.header("content-type") for seen in upstream.seen(f"again-{number}")} == {
            "application/octet-stream"
        }


def test_a_call_is_retried_as_its_upstream_specifies(server: Server, upstream: Upstream) -> None:
    busy = complete_response(503, b"{}")
    upstream.on("/busy", in_turn(busy, busy, json_response(3)))
    response = server.get("/again/busy")
    assert response.json == 3
    assert response.header("x-dragoman-upstream") == "up;status=503, up;status=503, up;status=200"
    upstream.on("/always", busy)
    response = server.get("/again/always", headers={"x-request-id": "always"})
    assert (response.status, response.json["kind"]) == (503, "upstream_unavailable")
    assert len(upstream.seen("always")) == 3


def test_a_post_that_fails_midway_is_not_retried(server: Server, upstream: Upstream) -> None:
    upstream.on("/breaks", in_turn(reset, reset, json_response(1)))
    assert server.post("/again/breaks", {}, headers={"x-request-id": "post"}).status == 502
    assert len(upstream.seen("post")) == 1
    upstream.on("/breaks", in_turn(reset, reset, json_response(1)))
    assert server.get("/again/breaks", headers={"x-request-id": "get"}).json == 1


def test_retry_after_is_waited_for_or_returned(server: Server, upstream: Upstream) -> None:
    soon = complete_response(503, b"{}", headers=[("retry-after", "1")])
    upstream.on("/soon", in_turn(soon, json_response(1)))
    response = server.get("/again/soon")
    assert response.json == 1
    assert response.seconds >= 1
    upstream.on("/late", complete_response(503, b"{}", headers=[("retry-after", "60")]))
    response = server.get("/again/late", headers={"x-request-id": "late"})
    assert (response.status, response.header("retry-after")) == (503, "60")
    assert len(upstream.seen("late")) == 1
    assert response.seconds < SOON


# --- Health ----------------------------------------------------------------------------------------------


def test_an_unhealthy_upstream_is_skipped_until_it_recovers(server: Server, upstream: Upstream) -> None:
    state = {"healthy": False}

    async def work(channel: Channel, seen: Seen) -> None:
        await (json_response(1)(channel, seen) if state["healthy"] else channel.hang())

    upstream.on("/work", work)
    upstream.on("/up", work)
    first = server.get("/watched")
    assert first.text == "up"
    assert first.header("x-dragoman-upstream") == "watched;failed=upstream_timeout, up;status=200"
    second = server.get("/watched")
    assert second.header("x-dragoman-upstream") == "up;status=200", "it is known to be down"
    state["healthy"] = True
    assert eventually(lambda: server.get("/watched").text == "watched")

    def health_states() -> list[bool]:
        return [line["healthy"] for line in server.log() if line["event"] == "upstream_health"]

    assert eventually(lambda: health_states()[-1]), "the recovery is logged too"
    assert health_states()[0] is False


def test_health_checks_run_in_parallel_and_once(server: Server, upstream: Upstream) -> None:
    both = asyncio.Event()
    checked: list[str] = []

    async def together(channel: Channel, seen: Seen) -> None:
        checked.append(seen.target)
        if len(checked) == 2:
            both.set()
        await asyncio.wait_for(both.wait(), PATIENCE)
        await json_response({})(channel, seen)

    upstream.on("/other-up", together)
    upstream.on("/plain-up", together)
    with ThreadPoolExecutor(10) as pool:
        responses = list(pool.map(lambda _: server.get("/health"), range(10)))
    found = {report["name"]: report for report in responses[0].json["upstreams"]}
    assert responses[0].json["status"] == "degraded"
    assert found["other"]["healthy"] is found["plain"]["healthy"] is True
    assert found["gone"]["healthy"] is False
    assert "127.0.0.1" not in responses[0].text
    assert checked.count("/plain-up") == 1, "ten requests during the check share one check"
    assert {response.status for response in responses} == {200}


# --- Metrics ---------------------------------------------------------------------------------------------


def test_metrics_can_be_parsed(server: Server, upstream: Upstream) -> None:
    upstream.on("/well", json_response(1))
    server.get("/first/well")
    server.get("/again/fine")
    families = {family.name: family for family in text_string_to_metric_families(server.get("/metrics").text)}
    calls = {
        (sample.labels["upstream"], sample.labels["outcome"]): sample.value
        for sample in families["http_client_request_duration_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert calls["dead", "connect"] == 1
    assert calls["slow", "200"] == 1
    routes = {
        sample.labels["http_route"]
        for sample in families["http_server_request_duration_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert {"/first/{name}", "/again/{name}"} <= routes
    assert "/first/well" not in server.get("/metrics").text


# --- Cached responses ------------------------------------------------------------------------------------


def counted() -> Behaviour:
    count = iter(range(1, 1000))

    async def behave(channel: Channel, seen: Seen) -> None:
        await json_response(next(count))(channel, seen)

    return behave


def test_a_cached_response_is_used_until_it_expires(server: Server, upstream: Upstream) -> None:
    upstream.on("/count", counted())
    first = server.get("/cached", headers={"x-request-id": "one"})
    again = server.get("/cached", headers={"x-request-id": "two"})
    assert (first.json, again.json) == ({"n": 1}, {"n": 1})
    assert first.header("x-dragoman-cache") is None
    assert again.header("x-dragoman-cache") == "hit"
    assert 0 <= int(again.header("age") or -1) < PATIENCE
    assert again.all("x-request-id") == ["two"]
    assert server.get("/cached?q=x").json == {"n": 2, "q": "x"}, "another query is another request"
    assert server.get("/cached/briefly").json == 3
    assert eventually(lambda: server.get("/cached/briefly").json == 4), "it has expired"


def test_a_cached_response_is_for_the_same_request(server: Server, upstream: Upstream) -> None:
    upstream.on("/count", counted())
    tenants = [server.get("/cached/by", headers={"x-tenant": t, "x-other": t}).json for t in "aabba"]
    assert tenants == [
        {"n": 1, "t": "a"},
        {"n": 1, "t": "a"},
        {"n": 2, "t": "b"},
        {"n": 2, "t": "b"},
        {"n": 1, "t": "a"},
    ]
    assert [server.post("/cached", {"a": a}).json for a in (1, 1, 2, 1)] == [3, 3, 4, 3]


def test_an_error_is_not_cached(server: Server, upstream: Upstream) -> None:
    for number in range(2):
        assert server.get("/cached/failing", headers={"x-request-id": f"f{number}"}).status == 404
        assert len(upstream.seen(f"f{number}")) == 1


def test_a_cached_response_needs_a_key(upstream: Upstream) -> None:
    upstream.on("/count", counted())
    env = {"UP": upstream.url, "DEAD": "http://127.0.0.1:9", "KEYS": "k1"}
    with dragoman_server(MAPPING, env) as server:
        key = {"authorization": "Bearer k1"}
        assert server.get("/cached", headers=key).status == 200
        assert server.get("/cached").status == 401
