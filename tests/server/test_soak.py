"""Many requests of all kinds, sequential and concurrent: no resource use grows.

`DRAGOMAN_TORTURE` makes it fifty thousand requests.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.server import Server, dragoman_server, reset
from tests.support.upstream import Channel, Seen, Upstream, complete_response, eventually, head, json_response

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  POST /call:
    call: { upstream: up, path: /fine, body: { a: "${ a }", b: "${ b }" } }
    respond: { body: { n: "${ n }", a: "${ $request.body.a }" } }
  GET /stream:
    call: GET up /events
    respond:
      stream_when: true
      pipeline: [{ to: ndjson, state: { n: 0 }, rules: [{ set: { n: "${ n }" }, emit: "${ @ }" }] }]
  GET /failing: { call: GET up /status/500, respond: { body: "${ @ }" } }
  GET /broken: { call: GET up /half-json, respond: { body: "${ @ }" } }
  GET /endless:
    call: GET up /endless-events
    respond: { stream_when: true, pipeline: [{ to: ndjson, rules: [{ emit: "${ @ }" }] }] }
  GET /several:
    calls: { a: GET up /fine, b: GET up /fine, c: GET up /fine }
    respond: { body: ["${ $calls.a.body }", "${ @ }"] }
  GET /through: { forward: up /fine }
"""
COUNT = 50_000 if os.environ.get("DRAGOMAN_TORTURE") else 600
_MEBIBYTE = 1 << 20
_KINDS = ("call",) * 5 + ("several", "stream", "stream", "failing", "broken", "endless", "through")


async def _events(channel: Channel, seen: Seen) -> None:
    await channel.send(head(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]))
    body = b"".join(b'data: {"n":%d}\n\n' % n for n in range(20))
    await channel.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))


async def _endless(channel: Channel, seen: Seen) -> None:
    await channel.send(head(200, [("content-type", "text/event-stream")]))
    while not await channel.pause(0.005):
        await channel.send(b'data: {"n":1}\n\n')


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        running.on("/fine", json_response({"n": 1}))
        running.on("/events", _events)
        running.on("/endless-events", _endless)
        running.on("/half", complete_response(200, b"{"))
        yield running


@pytest.fixture
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}, ("--log-level", "error")) as running:
        yield running


def _memory(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def _files(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def _cpu(server: Server) -> float:
    """Returns the CPU time that the server has used, in seconds."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rests(server: Server) -> bool:
    """Whether it uses almost no CPU time; a busy loop uses all it gets."""
    before = _cpu(server)
    time.sleep(0.5)
    return _cpu(server) - before < 0.05


def _send(server: Server, seed: int) -> None:
    """Sends a request of the kind given by the seed, and checks the response."""
    kind = random.Random(seed).choice(_KINDS)
    if kind == "call":
        assert server.post("/call", {"a": seed, "b": "x" * (seed % 500), "c": None}).json == {
            "n": 1,
            "a": seed,
        }
    elif kind == "endless":
        connection = server.connect()
        connection.sendall(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        connection.recv(100)
        (reset if seed % 2 else socket.socket.close)(connection)
    else:
        response = server.get(f"/{kind}")
        assert response.status == (502 if kind in ("failing", "broken") else 200), kind
        assert kind != "stream" or response.text.count("\n") == 20


def test_no_resource_use_grows(server: Server, upstream: Upstream) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: _send(server, seed), range(COUNT // 4)))
        time.sleep(0.3)
        memory, files = _memory(server), _files(server)
        list(pool.map(lambda seed: _send(server, seed), range(COUNT // 4, COUNT)))
    assert eventually(lambda: _files(server) <= files + 5)
    assert _memory(server) - memory < 10 * _MEBIBYTE
    assert eventually(lambda: _rests(server)), "it is idle without requests"
    assert server.get("/several").json == [{"n": 1}, {"n": 1}]
