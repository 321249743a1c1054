"""Log lines: one for each exchange, with its fields, and neither query nor payload in any."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.server import Server, dragoman_server, reset
from tests.support.upstream import Upstream, eventually

MAPPING = """
dragoman: 1
name: shop
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  POST /call/{name}:
    call: { upstream: up, method: POST, path: "/${ $request.params.name }" }
    respond: { body: "${ @ }" }
  GET /local: { respond: { body: "${ warn('x', 'careful') }" } }
"""
FIELDS = {
    "request_id",
    "provider",
    "method",
    "path",
    "status_code",
    "duration_ms",
    "event",
    "level",
    "timestamp",
    "mapping",
}


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}, ("--log-level", "debug")) as running:
        yield running
        assert running.get("/local").seconds < 2


@pytest.mark.parametrize(
    ("method", "target", "status", "provider", "level", "more"),
    [
        ("POST", "/call/json?secret-query=1", 200, "up", "info", {"dropped"}),
        ("POST", "/call/reset?secret-query=1", 502, "up", "error", {"dropped", "kind", "cause"}),
        ("POST", "/call/status/404", 404, None, "info", {"kind"}),
        ("GET", "/local?secret-query=1", 200, None, "info", set()),
        ("GET", "/nowhere%0A?secret-query=1", 404, None, "info", {"kind"}),
    ],
)
def test_a_line(
    server: Server, method: str, target: str, status: int, provider: str | None, level: str, more: set[str]
) -> None:
    body = {"n": "secret-payload"} if method == "POST" else None
    reply = server.request(method, target, body, headers={"cookie": "secret-payload"})
    line = server.logged(reply.header("x-request-id") or "")
    assert set(line) == FIELDS | more
    assert (line["method"], line["path"]) == (method, target.partition("?")[0])
    assert (line["status_code"], line["provider"], line["level"]) == (status, provider, level)
    assert line["mapping"] == "shop"
    assert 0 < line["duration_ms"] < 2000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])
    assert "secret" not in server.text()


def test_a_warning_carries_the_id(server: Server) -> None:
    reply = server.get("/local", headers={"x-request-id": "careful-1"})
    assert reply.status == 200
    warning = server.logged("careful-1", "warning")
    assert (warning["message"], warning["mapping"], warning["level"]) == ("careful", "shop", "warning")


def test_a_client_that_left_has_a_line(server: Server, upstream: Upstream) -> None:
    connection = server.connect()
    connection.sendall(b"POST /call/hang?secret-query HTTP/1.1\r\nhost: x\r\nx-request-id: gone-1\r\n\r\n")
    assert upstream.eventually(lambda up: up.seen("gone-1"))
    reset(connection)
    line = server.logged("gone-1")
    assert set(line) == FIELDS | {"kind"}
    assert (line["status_code"], line["kind"], line["provider"]) == (499, "client_left", "up")
    assert (line["path"], line["mapping"]) == ("/call/hang", "shop")


def test_every_line_is_json(server: Server) -> None:
    server.raw(b"no HTTP at all\r\n\r\n")
    server.raw(
        b"GET /local HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n\r\n", 1
    )
    assert eventually(lambda: any(line.get("status_code") == 400 for line in server.log()))
    assert [line for line in server.lines if not line.startswith(("{", "Dragoman serves"))] == []


def test_lines_below_the_level_are_left_out(upstream: Upstream) -> None:
    with dragoman_server(MAPPING, {"UP": upstream.url}, ("--log-level", "error")) as quiet:
        quiet.get("/local")
        quiet.post("/call/reset", headers={"x-request-id": "loud-1"})
        quiet.logged("loud-1")
        assert len(quiet.log()) == 1
