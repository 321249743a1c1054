"""Log lines: one for each exchange, with its fields, and without queries and payloads."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.server import Server, dragoman_server, reset
from tests.support.times import SOON
from tests.support.upstream import Upstream, eventually

MAPPING = """
dragoman: 1
name: shop
env: { UP: {} }
upstreams:
  up: { url: "${ $env.UP }" }
  retried: { url: "${ $env.UP }", retry: { attempts: 3, on: [503], wait: 1ms } }
routes:
  POST /call/{name}:
    call: { upstream: up, method: POST, path: "/${ $request.params.name }" }
    respond: { body: "${ @ }" }
  GET /again:
    call: GET retried /status/503
    respond: { body: "${ @ }" }
  GET /stream:
    respond: { stream: { to: sse, every: 100ms, emit: [1, 2, 3] } }
  GET /local: { respond: { body: "${ warn('x', 'careful') }" } }
"""
FIELDS = {
    "request_id",
    "client",
    "method",
    "path",
    "status_code",
    "duration_ms",
    "event",
    "level",
    "timestamp",
    "mapping",
}
#: Fields of requests that a route handles, and of those with a call.
ROUTE = {"route"}
CALL = {"upstream", "upstream_url"}
#: Fields of requests with a complete response.
COMPLETED = {"attempts", "bytes_sent"}


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}, ("--log-level", "debug")) as running:
        yield running
        assert running.get("/local").seconds < SOON


@pytest.mark.parametrize(
    ("method", "target", "status", "name", "level", "more"),
    [
        ("POST", "/call/json?secret-query=1", 200, "up", "info", ROUTE | CALL | {"dropped_fields"}),
        (
            "POST",
            "/call/reset?secret-query=1",
            502,
            "up",
            "error",
            ROUTE | CALL | {"dropped_fields", "error_kind", "cause"},
        ),
        ("POST", "/call/status/404", 404, None, "info", {"error_kind"}),
        ("GET", "/local?secret-query=1", 200, None, "info", ROUTE),
        ("GET", "/nowhere%0A?secret-query=1", 404, None, "info", {"error_kind"}),
    ],
)
def test_a_request_line(
    server: Server,
    upstream: Upstream,
    method: str,
    target: str,
    status: int,
    name: str | None,
    level: str,
    more: set[str],
) -> None:
    body = {"n": "secret-payload"} if method == "POST" else None
    response = server.request(method, target, body, headers={"cookie": "secret-payload"})
    line = server.logged(response.header("x-request-id") or "")
    assert set(line) == FIELDS | COMPLETED | more
    assert (line["method"], line["path"]) == (method, target.partition("?")[0])
    assert (line["status_code"], line.get("upstream"), line["level"]) == (status, name, level)
    assert (line["mapping"], line["client"]) == ("shop", "127.0.0.1")
    route = {"call": "POST /call/{name}", "local": "GET /local"}.get(target.split("/")[1].partition("?")[0])
    assert line.get("route") == (None if target.endswith("/404") else route)
    assert line.get("upstream_url") == (upstream.url if name else None)
    assert line["attempts"] == (1 if name else 0)
    assert line["bytes_sent"] == len(response.body)
    assert 0 < line["duration_ms"] < SOON * 1000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])
    assert "secret" not in server.text()


def test_a_retried_call(server: Server) -> None:
    assert server.get("/again", headers={"x-request-id": "again-1"}).status == 503
    line = server.logged("again-1")
    assert (line["attempts"], line["attempt_outcomes"]) == (3, ["retried: 503"] * 3)


def test_a_stream_line_has_the_number_of_events(server: Server) -> None:
    response = server.get("/stream", headers={"x-request-id": "stream-1"})
    line = server.logged("stream-1")
    assert set(line) == FIELDS | ROUTE | COMPLETED | {"events", "first_event_ms"}
    assert (line["events"], line["bytes_sent"]) == (3, len(response.body))
    assert 0 < line["first_event_ms"] < line["duration_ms"]
    assert line["duration_ms"] > 150


def test_a_warning_has_the_request_id(server: Server) -> None:
    response = server.get("/local", headers={"x-request-id": "careful-1"})
    assert response.status == 200
    warning = server.logged("careful-1", "mapping_warning")
    assert (warning["message"], warning["mapping"], warning["level"]) == ("careful", "shop", "warning")


def test_a_disconnected_client_has_a_line(server: Server, upstream: Upstream) -> None:
    connection = server.connect()
    connection.sendall(b"POST /call/hang?secret-query HTTP/1.1\r\nhost: x\r\nx-request-id: gone-1\r\n\r\n")
    assert upstream.eventually(lambda up: up.seen("gone-1"))
    reset(connection)
    line = server.logged("gone-1")
    assert set(line) == FIELDS | ROUTE | CALL | {"error_kind"}
    assert (line["status_code"], line["error_kind"], line["upstream"]) == (499, "client_disconnected", "up")
    assert (line["path"], line["mapping"]) == ("/call/hang", "shop")


def test_every_line_is_json(server: Server) -> None:
    server.raw(b"no HTTP at all\r\n\r\n")
    server.raw(b"GET /local HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n\r\n")
    assert eventually(lambda: any(line.get("status_code") == 400 for line in server.log()))
    assert [line for line in server.lines if not line.startswith("{")] == []
    assert server.log()[0]["event"] == "serving"


def test_lines_below_the_level_are_omitted(upstream: Upstream) -> None:
    with dragoman_server(MAPPING, {"UP": upstream.url}, ("--log-level", "error")) as quiet:
        quiet.get("/local")
        quiet.post("/call/reset", headers={"x-request-id": "loud-1"})
        quiet.logged("loud-1")
        assert [line["event"] for line in quiet.log()] == ["serving", "request"]
