"""In-process calls between mappings: the client sees what each one dropped, and which upstreams it called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import Response, Server, dragoman_server
from tests.support.upstream import Upstream, eventually, json_response, raw

EVENTS = b'data: {"n":1}\n\ndata: {"n":2}\n\n'
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + EVENTS
STREAM = """
            stream_when: true
            pipeline: [{ from: sse }, { to: sse, rules: [{ emit: "${ @ }" }] }]
"""
OUTER = """
dragoman: 1
name: outer
upstreams:
  middle: { url: "mapping:middle" }
  dead: { url: "mapping:middle" }
  again: { url: "mapping:middle", retry: { attempts: 2, on: [503], wait: 1ms } }
errors: { body: { outer: "${ kind }", message: "${ message }", upstream: "${ upstream.message }" } }
templates:
  sent: { a: "${ a }", b: "${ b }", c: [{ x: "${ x }", y: "${ y }" }] }
routes:
  POST /one: { call: { upstream: middle, path: /one, body: { $use: sent } }, respond: { body: "${ @ }" } }
  POST /two: { call: { upstream: middle, path: /two, body: { $use: sent } }, respond: { body: "${ @ }" } }
  POST /strict: { call: { upstream: middle, path: /strict, body: { $use: sent } }, respond: { body: x } }
  POST /outer-strict:
    dropped: reject
    call: { upstream: middle, path: /one, body: "${ @ }" }
    respond: { body: x }
  POST /failing: { call: { upstream: middle, path: /failing, body: { $use: sent } }, respond: { body: x } }
  POST /events:
    call: { upstream: middle, path: /events, body: { $use: sent } }
    respond: { $STREAM }
  POST /forward: { forward: middle /one }
  POST /forward-events: { forward: middle /events }
  POST /again: { call: { upstream: again, path: /failing, body: { $use: sent } }, respond: { body: x } }
  POST /try:
    try:
      - { call: { upstream: dead, path: /failing, body: { b: "${ b }" } }, respond: { body: x } }
      - { call: { upstream: middle, path: /one, body: { $use: sent } }, respond: { body: "${ @ }" } }
  POST /try-forward:
    try:
      - { forward: dead /failing }
      - { forward: middle /one }
  POST /calls:
    calls:
      first: { upstream: middle, path: /one, body: { b: "${ b }" } }
      second: { upstream: middle, path: /two, body: { a: "${ a }" } }
    respond: { body: { first: "${ $calls.first.body }" } }
  POST /cached-call:
    calls:
      only: { upstream: middle, path: /one, body: { $use: sent }, cache: 1h }
    respond: { body: "${ $calls.only.body }" }
  POST /cached:
    cache: 1h
    call: { upstream: middle, path: /one, body: { $use: sent } }
    respond: { body: "${ @ }" }
  POST /inner-cached:
    call: { upstream: middle, path: /cached, body: { $use: sent } }
    respond: { body: "${ @ }" }
  POST /all: { call: { upstream: middle, path: /one, body: "${ @ }" }, respond: { body: "${ @ }" } }
  GET /empty: { call: GET middle /empty, respond: { body: "${ @ }" } }
"""
MIDDLE = """
dragoman: 1
name: middle
prefix: /middle
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" }, inner: { url: "mapping:inner" } }
routes:
  POST /one:
    call: { upstream: up, path: /ok, body: { a: "${ a }", c: [{ y: "${ c[*].y }" }] } }
    respond: { body: "${ @ }" }
  POST /two:
    call: { upstream: inner, path: /, body: { b: "${ b }", d: "${ a }" } }
    respond: { body: "${ @ }" }
  POST /strict:
    dropped: reject
    call: { upstream: up, path: /ok, body: { a: "${ a }" } }
    respond: { body: x }
  POST /failing: { call: { upstream: up, path: /status/503, body: { a: "${ a }" } }, respond: { body: x } }
  POST /events:
    call: { upstream: up, path: /events, body: { a: "${ a }" } }
    respond: { $STREAM }
  POST /cached:
    cache: 1h
    call: { upstream: up, path: /ok, body: { a: "${ a }" } }
    respond: { body: x }
  GET /empty: { respond: { body: x } }
"""
INNER = """
dragoman: 1
name: inner
prefix: /inner
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  POST /: { call: { upstream: up, path: /ok, body: { b: "${ b }" } }, respond: { body: "${ @ }" } }
"""
MAPPINGS = {
    "outer.yaml": OUTER.replace("{ $STREAM }", STREAM),
    "middle.yaml": MIDDLE.replace("{ $STREAM }", STREAM),
    "inner.yaml": INNER,
}
SENT = {"a": 1, "b": 2, "x": 3, "y": 4, "z": 5}
ONE = "z, middle:b, middle:c[].x"
ONLY_A = "z, middle:b, middle:c"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Upstream() as upstream:
        upstream.on("/ok", json_response({"ok": True}))
        upstream.on("/events", raw(SSE, "close"))
        with dragoman_server(MAPPINGS, {"UP": upstream.url}) as running:
            yield running


def _reported(response: Response) -> tuple[str | None, str | None]:
    return response.header("x-dragoman-dropped"), response.header("x-dragoman-upstream")


def _logged(server: Server, response: Response) -> dict[str, Any]:
    """The line of the outer mapping; the inner one logs its own errors."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        request_id = response.header("x-request-id")
        lines = [line for line in server.log() if line.get("request_id") == request_id]
        found[:] = [line for line in lines if line["mapping"] == "outer" and line["event"] == "request"]
        return bool(found)

    assert eventually(look)
    return found[0]


@pytest.mark.parametrize(
    ("path", "status", "dropped", "upstreams"),
    [
        ("/one", 200, ONE, "middle;status=200, middle:up;status=200"),
        (
            "/two",
            200,
            "z, middle:c, inner:d",
            "middle;status=200, middle:inner;status=200, inner:up;status=200",
        ),
        ("/failing", 503, ONLY_A, "middle;status=503, middle:up;status=503"),
        ("/events", 200, ONLY_A, "middle;status=200, middle:up;status=200"),
        (
            "/forward",
            200,
            "middle:b, middle:x, middle:y, middle:z",
            "middle;status=200, middle:up;status=200",
        ),
        (
            "/forward-events",
            200,
            "middle:b, middle:x, middle:y, middle:z",
            "middle;status=200, middle:up;status=200",
        ),
        (
            "/again",
            503,
            ONLY_A,
            "again;status=503, middle:up;status=503, again;status=503, middle:up;status=503",
        ),
        (
            "/try",
            200,
            ONE,
            "dead;status=503, middle:up;status=503, middle;status=200, middle:up;status=200",
        ),
        (
            "/try-forward",
            200,
            "middle:b, middle:x, middle:y, middle:z",
            "dead;status=503, middle:up;status=503, middle;status=200, middle:up;status=200",
        ),
    ],
)
def test_the_client_sees_the_whole_chain(
    server: Server, path: str, status: int, dropped: str, upstreams: str
) -> None:
    response = server.post(path, SENT)
    assert response.status == status, response.text
    assert _reported(response) == (dropped, upstreams)
    assert "events" not in path or response.body == EVENTS
    line = _logged(server, response)
    assert line["dropped_fields"] == dropped.split(", ")
    assert [outcome.replace(": ", ";status=") for outcome in line["attempt_outcomes"]] == upstreams.split(
        ", "
    )
    assert line["attempts"] == sum(":" not in call for call in upstreams.split(", "))


def test_parallel_calls(server: Server) -> None:
    response = server.post("/calls", SENT)
    dropped, upstreams = (set((header or "").split(", ")) for header in _reported(response))
    assert dropped == {"x", "y", "z", "middle:b", "inner:d"}
    assert upstreams == {
        "middle;status=200",
        "middle:up;status=200",
        "middle:inner;status=200",
        "inner:up;status=200",
    }


def test_dropped_reject_of_the_inner_mapping_is_its_400(server: Server) -> None:
    response = server.post("/strict", SENT)
    assert (response.status, response.json) == (
        400,
        {
            "outer": "invalid_request",
            "message": "the upstream returned status 400",
            "upstream": "these fields are not supported here: b, c",
        },
    )
    assert _reported(response)[0] == ONLY_A


def test_dropped_reject_of_the_outer_mapping_is_about_its_own_fields(server: Server) -> None:
    response = server.post("/outer-strict", {"a": 1, "z": 1})
    assert (response.status, _reported(response)[0]) == (200, "middle:z")


@pytest.mark.parametrize(
    ("path", "dropped"),
    [("/cached-call", ONE), ("/cached", ONE), ("/inner-cached", ONLY_A)],
)
def test_cached_responses_report_what_was_dropped(server: Server, path: str, dropped: str) -> None:
    first, second = (server.post(path, SENT) for _ in range(2))
    assert _reported(first) == (dropped, "middle;status=200, middle:up;status=200")
    assert _reported(second) == (dropped, None), "it names no upstream that was not called"
    assert len(second.all("x-dragoman-dropped")) == 1
    line = server.logged(second.header("x-request-id") or "")
    assert line["dropped_fields"] == dropped.split(", ")


def test_a_mapping_that_calls_nothing(server: Server) -> None:
    assert _reported(server.get("/empty")) == (None, None)


def test_the_header_is_bounded(server: Server) -> None:
    body: dict[str, Any] = {f"field-{n:05}-{'é' * (n % 60)}": 1 for n in range(20_000)}
    dropped = server.post("/all", body).header("x-dragoman-dropped") or ""
    assert 4000 < len(dropped) <= 4096
    assert dropped.isascii()
    *names, last = dropped.split(", ")
    assert (names[0], last) == ("middle:field-00000-", "...")
    assert all(name.startswith("middle:field-") for name in names)


def test_names_of_fields_cannot_be_mistaken_for_those_of_a_mapping(server: Server) -> None:
    response = server.post("/all", {"a": 1, "inner:b, c": 1})
    assert response.header("x-dragoman-dropped") == "middle:inner?b??c"
