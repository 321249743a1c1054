"""Mutated upstream responses (changed, lost, doubled, moved bytes): one coherent response, or a disconnect.

The mutations are seeded, so that each can be reproduced. `DRAGOMAN_TORTURE` runs all of them.
"""

from __future__ import annotations

import os
import random
import re
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.upstream import Channel, Seen, Upstream, eventually

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams:
  up: { url: "${ $env.UP }", timeout: { read: 500ms, total: 2s } }
  patient: { url: "${ $env.UP }" }
errors: { body: { failed: "${ kind }" } }
routes:
  GET /whole/{n}: { call: "GET up /whole/${ $request.params.n }", respond: { body: { n: "${ n }" } } }
  GET /stream/{n}:
    call: GET up /stream/${ $request.params.n }
    respond:
      stream_when: true
      pipeline: [{ to: ndjson, rules: [{ emit: { n: "${ n }" } }], end: [{ emit: { done: true } }] }]
  GET /lines/{n}:
    call: GET up /lines/${ $request.params.n }
    respond: { stream_when: true, pipeline: [{ to: sse, rules: [{ emit: { n: "${ n }" } }] }] }
  GET /through/{n}: { forward: "up /through/${ $request.params.n }" }
  GET /ordinary: { call: "GET patient /ordinary", respond: { body: "${ n }" } }
"""
COUNT = 5000 if os.environ.get("DRAGOMAN_TORTURE") else 400

_JSON = b'{"n": 1, "text": "caf\xc3\xa9 \\u2028", "list": [1, 2.5, null, true]}'
_EVENTS = [b'data: {"n": %d}\n\n' % n for n in range(4)]


def _chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


#: Valid responses, by the route that requests them.
SOUND = {
    "whole": (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-A: b\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(_JSON), _JSON)
    ),
    "stream": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    + _chunked(_EVENTS),
    "lines": b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    + _chunked([b'{"n":1}\n{"n"', b":2}\n", b'{"n":3}']),
    "through": b"HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\nSet-Cookie: a=b\r\n"
    b"Content-Length: 12\r\n\r\nhello, world",
}
ROUTES = sorted(SOUND)

_INTERESTING = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b": ",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"\xff\xfe",
    b"-1",
)
_FIELDS = (
    b"Content-Length: 3\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: br, gzip\r\n",
    b"Connection: close\r\n",
    b"Upgrade: websocket\r\nConnection: upgrade\r\n",
    b"X: " + b"y" * 70_000 + b"\r\n",
    b" folded\r\n",
)


def _flip(r: random.Random, data: bytes) -> bytes:
    at = r.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << r.randrange(8))]) + data[at + 1 :]


def _truncate(r: random.Random, data: bytes) -> bytes:
    return data[: r.randrange(len(data))]


def _lose(r: random.Random, data: bytes) -> bytes:
    a, b = sorted((r.randrange(len(data)), r.randrange(len(data))))
    return data[:a] + data[b:]


def _double(r: random.Random, data: bytes) -> bytes:
    a, b = sorted((r.randrange(len(data)), r.randrange(len(data))))
    return data[:b] + data[a:]


def _insert(r: random.Random, data: bytes) -> bytes:
    at = r.randrange(len(data))
    return data[:at] + r.choice(_INTERESTING) + data[at:]


def _field(r: random.Random, data: bytes) -> bytes:
    ends = [m.end() for m in re.finditer(rb"\r\n", data[: data.index(b"\r\n\r\n") + 2])]
    at = r.choice(ends)
    return data[:at] + r.choice(_FIELDS) + data[at:]


def _status(r: random.Random, data: bytes) -> bytes:
    return (
        data[:9]
        + r.choice((b"100", b"101", b"199", b"204", b"304", b"600", b"999", b"20", b"abc"))
        + data[12:]
    )


def _twice(r: random.Random, data: bytes) -> bytes:
    return data + data


_MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(_flip, _truncate, _lose, _double, _insert, _field, _status, _twice),
)


def mutated(seed: int) -> tuple[str, bytes]:
    """Returns the route and the bytes of a seed."""
    r = random.Random(seed)
    route = ROUTES[seed % len(ROUTES)]
    data = SOUND[route]
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        data = r.choice(_MUTATIONS)(r, data) or data if b"\r\n\r\n" in data else _insert(r, data or b"x")
    return route, data


async def _behave(channel: Channel, seen: Seen) -> None:
    """Sends the bytes of the seed in the path, in one piece or two, and closes."""
    seed = int(seen.path.rpartition("/")[2])
    data, r = mutated(seed)[1], random.Random(-seed - 1)
    channel.keep_alive = r.random() < 0.3
    split = r.randrange(len(data) + 1)
    for piece in (data[:split], data[split:]):
        await channel.send(piece)
        if r.random() < 0.5:
            await channel.pause(0.001)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        for route in ROUTES:
            running.on(f"/{route}", _behave)
        yield running


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as running:
        yield running


def _response(server: Server, route: str, seed: int) -> bytes:
    """Returns all that the client reads."""
    data = b""
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, struct.pack("i", 1))
        connection.sendall(f"GET /{route}/{seed} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        try:
            while piece := connection.recv(65536):
                data += piece
        except ConnectionResetError:
            pass
    return data


def _problem(route: str, data: bytes) -> str | None:
    """Returns why bytes are not a coherent response; None if they are one, complete or truncated."""
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d{3}) [^\r\n]*(?:\r\n[!#$%&'*+.^_`|~0-9a-z-]+: [^\r\n]*)*\Z", head)
    if found is None:
        return f"no head: {data[:80]!r}"
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
    if b"content-length" in names and b"transfer-encoding" in names:
        return "both framings"
    if names.count(b"content-length") > 1:
        return "two lengths"
    status = int(found[1])
    if route == "through":
        return None if 200 <= status <= 599 else f"status {status}"
    if status not in (200, 400, 404, 502, 504):
        return f"status {status}"
    if b"HTTP/1.1" in body:
        return "a second response"
    return None


def test_each_mutation_gives_one_coherent_response(server: Server, upstream: Upstream) -> None:
    def find_problem(seed: int) -> tuple[int, str] | None:
        route = ROUTES[seed % len(ROUTES)]
        try:
            problem = _problem(route, _response(server, route, seed))
        except TimeoutError:
            problem = "no response"
        return None if problem is None else (seed, f"{route}: {problem}: {mutated(seed)[1][:300]!r}")

    with ThreadPoolExecutor(16) as pool:
        problems = [found for found in pool.map(find_problem, range(COUNT)) if found]
    assert problems == []
    upstream.on("/ordinary", _ordinary)
    response = server.get("/ordinary")
    assert (response.status, response.json) == (200, 7)
    assert eventually(lambda: not any(line["event"] == "internal_error" for line in server.log()))


async def _ordinary(channel: Channel, seen: Seen) -> None:
    await channel.send(
        b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n{"n":7}'
    )


def test_valid_responses_are_returned(server: Server, upstream: Upstream) -> None:
    """The unmutated responses are valid."""

    def sound(route: str) -> Callable[[Channel, Seen], object]:
        async def behave(channel: Channel, seen: Seen) -> None:
            await channel.send(SOUND[route])

        return behave

    patient = MAPPING.replace("read: 500ms, total: 2s", "read: 1m")
    with Upstream() as own, dragoman_server(patient, {"UP": own.url}) as other:
        for route in ROUTES:
            own.on(f"/{route}", sound(route))  # type: ignore[arg-type]
        assert other.get("/whole/0").json == {"n": 1}
        assert other.get("/stream/0").text.splitlines()[-1] == '{"done":true}'
        assert other.get("/lines/0").text.count("data: ") == 3
        through = other.get("/through/0")
        assert (through.status, through.body, through.header("set-cookie")) == (206, b"hello, world", "a=b")
