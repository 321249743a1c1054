"""Endless and far too large upstream responses do not fill the memory of the process."""

from __future__ import annotations

import contextlib
import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.memory import MIB, linux_only, memory
from tests.support.server import Server, dragoman_server
from tests.support.times import PATIENCE
from tests.support.upstream import Upstream, complete_response, drip, eventually, head, json_response, raw

pytestmark = linux_only

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  GET /sse/{name}:
    call: "GET up /up/${ $request.params.name }"
    respond: { stream_when: true, pipeline: [{ from: sse }, { to: sse, rules: [{ emit: "${ @ }" }] }] }
  GET /json/{name}: { call: "GET up /up/${ $request.params.name }", respond: { body: "${ @ }" } }
"""
_JSON = ("content-type", "application/json")
_GZIP = ("content-encoding", "gzip")
STARTED = head(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")])


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        running.on("/up/fine", json_response({"ok": True}))
        yield running


@pytest.fixture
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as running:
        yield running


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("size", [100, 32 * 1024])
def test_fifty_clients_stop_reading_an_endless_stream(server: Server, upstream: Upstream, size: int) -> None:
    event = chunk(b'data: {"text":"' + b"x" * size + b'"}\n\n')
    upstream.on("/up/endless", drip(STARTED, event * (1 + 65_536 // size), 0))
    assert server.get("/json/fine").status == 200
    before = memory(server)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            client = stack.enter_context(server.connect())
            client.sendall(b"GET /sse/endless HTTP/1.1\r\nhost: x\r\n\r\n")
        assert upstream.eventually(lambda up: len(up.open) >= 50)
        assert eventually(lambda: _rests(server) and _rests(server), 2 * PATIENCE), "it continues to read"
        assert server.get("/json/fine").status == 200
        grown = memory(server, peak=True) - before
    assert grown < 64 * MIB, f"{grown / MIB:.0f} MiB"
    assert upstream.eventually(lambda up: len(up.open) <= 2)


BOMB = gzip.compress(b" " * MIB, 9) * 256

#: Response → how much memory may grow, in MiB, in addition to the buffered body.
LARGE = {
    "bomb": (complete_response(200, BOMB, headers=[_GZIP]), 20),
    "bomb in a bomb": (
        complete_response(200, gzip.compress(BOMB), headers=[("content-encoding", "gzip, gzip")]),
        16,
    ),
    "announced": (raw(head(200, [_JSON, ("content-length", str(100 * MIB))]) + b" " * MIB, "hang"), 16),
    "head": (drip(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 65_536, 0), 8),
    "interim": (drip(b"", b"HTTP/1.1 100 X\r\n\r\n" * 3000, 0), 8),
    "trailers": (
        drip(head(200, [_JSON, ("transfer-encoding", "chunked")]) + b"0\r\n", b"x: y\r\n" * 9000, 0),
        8,
    ),
    "extension": (
        drip(head(200, [_JSON, ("transfer-encoding", "chunked")]) + b"1;a=", b"b" * 65_536, 0),
        8,
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_far_too_large_responses(server: Server, upstream: Upstream, name: str) -> None:
    behaviour, limit = LARGE[name]
    upstream.on("/up/large", behaviour)
    assert server.get("/json/fine").status == 200
    before = memory(server)
    for _ in range(3):
        response = server.get("/json/large")
        assert response.status == 502, response.text
    grown = memory(server, peak=True) - before
    assert grown < limit * MIB, f"{grown / MIB:.0f} MiB"
    assert server.get("/json/fine").status == 200


def test_an_endless_line(server: Server, upstream: Upstream) -> None:
    upstream.on("/up/line", drip(STARTED + chunk(b'data: {"a":1}\n\ndata: '), chunk(b"x" * 65_536), 0))
    assert server.get("/json/fine").status == 200
    before = memory(server)
    response = server.get("/sse/line")
    assert '{"a":1}' in response.text
    assert "error" in response.text
    grown = memory(server, peak=True) - before
    assert grown < 16 * MIB, f"{grown / MIB:.0f} MiB"
    assert upstream.eventually(lambda up: len(up.open) <= 1)


def _rests(server: Server) -> bool:
    """Whether the process is almost idle."""

    def used() -> int:
        fields = Path(f"/proc/{server.process.pid}/stat").read_text("ascii").rpartition(") ")[2].split()
        return int(fields[11]) + int(fields[12])

    before = used()
    time.sleep(0.3)
    return used() - before <= 2
