"""Clients that are slow, silent, too many or too large: each uses bounded time and bounded memory."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Server, dragoman_server, read_all
from tests.support.times import A_SECOND, SOON
from tests.support.upstream import Channel, Seen, Upstream, eventually, head, json_response, raw

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }", timeout: { read: 60s } } }
routes:
  GET /local: { respond: { body: ok } }
  POST /local: { respond: { body: "${ n }" } }
  GET /call/{name}:
    call: { upstream: up, path: "/slow/${ $request.params.name }", max_bytes: 40000000 }
    respond: { body: "${ @ }" }
  GET /through: { forward: up /slow/broken }
  GET /stream:
    call: GET up /slow/stream
    respond: { stream_when: true, pipeline: [{ from: sse }, { to: sse, rules: [{ emit: "${ @ }" }] }] }
"""
#: More than a machine may pause: a client that is in time must not seem late.
HURRIED = ("--head-timeout", "3", "--body-timeout", "3", "--keep-alive", "3", "--send-timeout", "3")
HALF = b"GET /local HTTP/1.1\r\nhost: x\r\nx-half: "


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}, HURRIED) as running:
        yield running


@pytest.fixture(scope="module")
def patient(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as running:
        yield running


def cpu_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident_mib(server: Server) -> float:
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) / 256


def holds(server: Server, client: socket.socket) -> bool:
    """Whether the server's end of a connection is still open; data from it may still be unread."""
    ends = [f":{port:04X}" for port in (server.address[1], client.getsockname()[1])]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    established = [line[1:3] for line in lines if line[3] == "01"]
    return any(own.endswith(ends[0]) and other.endswith(ends[1]) for own, other in established)


def closed(clients: list[socket.socket], seconds: float) -> list[bytes]:
    """Returns the data received by each client until it was closed; asserts that all are closed in time."""
    until, found = time.monotonic() + seconds, []
    for client in clients:
        client.settimeout(max(0.01, until - time.monotonic()))
        data = b""
        while piece := client.recv(65_536):
            data += piece
        found.append(data)
    return found


def test_incomplete_heads_time_out_while_others_are_served(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(300)]
        for client in clients:
            client.sendall(HALF)
        assert all(server.get("/local").status == 200 for _ in range(5))
        responses = closed(clients, SOON)
    assert all(response.startswith(b"HTTP/1.1 408 ") and b'"error"' in response for response in responses)
    assert server.get("/local").status == 200


DRIPPING = {
    HALF: b"x",
    b"POST /local HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n": b" ",
    b"POST /local HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n": b"1\r\n \r\n",
}


def test_dripping_requests_time_out(server: Server) -> None:
    with ThreadPoolExecutor() as pool:
        for response in pool.map(lambda start: dripped(server, start, DRIPPING[start]), DRIPPING):
            assert response.startswith(b"HTTP/1.1 408 ")
            assert b"connection: close" in response


def dripped(server: Server, start: bytes, piece: bytes) -> bytes:
    """Returns the response to a request whose rest is sent in pieces, ten a second."""
    until, response = time.monotonic() + SOON, b""
    with server.connect() as client:
        client.sendall(start)
        client.settimeout(0.1)
        while not response and time.monotonic() < until:
            client.sendall(piece)
            with contextlib.suppress(TimeoutError):
                response = client.recv(4096)
    return response


def test_a_large_body_may_take_longer(server: Server) -> None:
    body = json.dumps({"n": 1, "m": "x" * 40_000}).encode()
    with server.connect() as client:
        client.sendall(f"POST /local HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode())
        for at in range(0, len(body), 8000):
            client.sendall(body[at : at + 8000])
            time.sleep(0.7)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_idle_connections_are_closed(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(500)]
        for client in clients[::2]:
            client.sendall(b"GET /local HTTP/1.1\r\nhost: x\r\n\r\n")
        assert server.get("/local").status == 200
        responses = closed(clients, SOON)
    assert all(response.startswith(b"HTTP/1.1 200 ") for response in responses[::2])
    assert set(responses[1::2]) == {b""}


@pytest.mark.parametrize("path", ["/stream", "/call/large"])
def test_a_client_that_reads_nothing_is_disconnected(server: Server, upstream: Upstream, path: str) -> None:
    async def flood(channel: Channel, seen: Seen) -> None:
        await channel.send(head(200, [("content-type", "text/event-stream")]))
        piece = b'data: {"n": "' + b"x" * 60_000 + b'"}\n\n'
        with contextlib.suppress(ConnectionError):
            while not channel.gone.is_set():
                await channel.send(piece)
        channel.keep_alive = False

    async def large(channel: Channel, seen: Seen) -> None:
        body = json.dumps("x" * 16_000_000).encode()
        await channel.send(head(200, [("content-length", str(len(body)))]) + body)

    upstream.on("/slow/stream", flood)
    upstream.on("/slow/large", large)
    request_id = uuid.uuid4().hex
    with server.connect() as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: {request_id}\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        assert eventually(lambda: not holds(server, client), SOON)
        assert len(read_all(client)) < 15_000_000
        if path == "/stream":
            (seen,) = upstream.seen(request_id)
            assert eventually(lambda: upstream.connections[seen.connection].closed is not None)
            assert server.logged(request_id)["error_kind"] == "client_disconnected"
    assert server.get("/local").status == 200


def test_a_slow_reader_receives_everything(server: Server, upstream: Upstream) -> None:
    async def large(channel: Channel, seen: Seen) -> None:
        body = json.dumps("x" * 12_000_000).encode()
        await channel.send(head(200, [("content-length", str(len(body)))]) + body)

    upstream.on("/slow/patient", large)
    with server.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.sendall(b"GET /call/patient HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        size = 0
        while piece := client.recv(500_000):
            size += len(piece)
            time.sleep(0.02)
    assert size > 12_000_000


def test_a_truncated_upstream_response_is_truncated_for_the_client(
    server: Server, upstream: Upstream
) -> None:
    upstream.on("/slow/broken", raw(head(200, [("transfer-encoding", "chunked")]) + b"3\r\nabc\r\n", "close"))
    response = server.get("/through", headers={"x-request-id": "through-1"}, expect_truncated=True)
    assert (response.status, response.body) == (200, b"abc")
    assert server.logged("through-1")["error_kind"] == "upstream_error"


def test_a_client_disconnects_with_an_unread_body(patient: Server, upstream: Upstream) -> None:
    """Its FIN is behind bytes that are not read from the socket."""
    before = len(upstream.requests)
    clients = [patient.connect() for _ in range(5)]
    for client in clients:
        client.sendall(
            b"GET /call/hang HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n\r\n" + b" " * 300_000
        )
    assert upstream.eventually(lambda up: len(up.requests) == before + 5)
    held = {seen.connection for seen in upstream.requests[before:]}
    for client in clients:
        client.close()
    assert upstream.eventually(lambda up: not [one for one in up.open if one.number in held], A_SECOND)


def test_pipelined_requests_of_a_disconnected_client(patient: Server, upstream: Upstream) -> None:
    before = len(upstream.requests)
    request = b"GET /call/hang HTTP/1.1\r\nhost: x\r\n\r\n"
    clients = [patient.connect() for _ in range(5)]
    for client in clients:
        client.sendall(request * 3)
    assert upstream.eventually(lambda up: len(up.requests) == before + 5)
    held = {seen.connection for seen in upstream.requests[before:]}
    for client in clients:
        client.close()
    assert upstream.eventually(lambda up: not [one for one in up.open if one.number in held], A_SECOND)
    assert len(upstream.requests) == before + 5


def test_a_large_body_uses_little_memory(upstream: Upstream) -> None:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as own:
        own.post("/local", {"n": 1})
        before = resident_mib(own)
        for chunked in (False, True):
            field = b"transfer-encoding: chunked" if chunked else b"content-length: 67108864"
            piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n" if chunked else b"x" * 65_536
            with own.connect() as client:
                client.sendall(
                    b"POST /local HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + field + b"\r\n\r\n"
                )
                with contextlib.suppress(ConnectionError):
                    for _ in range(1024):
                        client.sendall(piece)
                assert read_all(client).startswith(b"HTTP/1.1 413 ")
        assert resident_mib(own) - before < 48


def test_few_descriptors(upstream: Upstream) -> None:
    """As with `ulimit -n 256`; idle connections are closed first."""
    code = "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (256, 256)); from cli.main import main; main()"
    with dragoman_server(MAPPING, {"UP": upstream.url}, command=(sys.executable, "-c", code)) as own:
        with contextlib.ExitStack() as stack:
            for _ in range(400):
                with contextlib.suppress(ConnectionError):
                    client = stack.enter_context(own.connect())
                    client.sendall(HALF)
            assert eventually(lambda: _rests(own)), "it spins"
            assert own.process.poll() is None
        assert eventually(lambda: _serves(own))
        with contextlib.ExitStack() as stack:
            for _ in range(400):
                with contextlib.suppress(ConnectionError):
                    stack.enter_context(own.connect())
            assert own.get("/local").status == 200, "an idle connection is closed for it"


FEW = "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (64, 64)); "
MAIN = "from cli.main import main; main()"
LOOPS = {
    "uvloop": (sys.executable, "-c", FEW + MAIN),
    "asyncio": (sys.executable, "-c", FEW + "import sys; sys.modules['uvloop'] = None; " + MAIN),
}
#: Far longer than a request takes, and shorter than any deadline of a head.
SLOW_HEADS = ("--head-timeout", "600", "--keep-alive", "600")


@pytest.fixture(params=list(LOOPS))
def few(upstream: Upstream, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server as with `ulimit -n 64` and long deadlines."""
    command = LOOPS[request.param]
    # Other tests set their own behaviours for other paths.
    upstream.on("/slow/hang", raw(b"", "hang"))
    upstream.on("/slow/json", json_response({"ok": True}))
    with dragoman_server(MAPPING, {"UP": upstream.url}, SLOW_HEADS, command=command) as own:
        yield own


@pytest.mark.parametrize("head", [HALF, b"", b"G", HALF + b"x" * 1000 + b"\r\n"])
def test_incomplete_heads_do_not_block_new_clients(few: Server, head: bytes) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(few.connect()) for _ in range(60)]
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.sendall(head)
        assert [few.get("/local").status for _ in range(30)] == [200] * 30
        assert [few.get("/call/json").status for _ in range(10)] == [200] * 10, "upstreams can be called too"
        assert eventually(lambda: not holds(few, clients[0])), "the oldest gives way"
        assert eventually(lambda: eviction_lines(few))
        (line, *more) = eviction_lines(few)
        assert line["count"] >= 1
        assert line["level"] == "warning"
        assert len(more) <= 1, "not one a connection"


def eviction_lines(server: Server) -> list[dict[str, Any]]:
    return [line for line in server.log() if line["event"] == "connections_closed"]


def calls_made(upstream: Upstream) -> int:
    """Returns the number of calls that the upstream has received and never ends."""
    return sum("hang" in seen.target for seen in list(upstream.requests))


def test_the_longest_idle_connection_is_closed_first(few: Server, upstream: Upstream) -> None:
    """Idle connections and incomplete heads alike, but never a connection with a request."""
    before = calls_made(upstream)
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(few.connect())
        busy.sendall(b"GET /call/hang HTTP/1.1\r\nhost: x\r\n\r\n")
        assert eventually(lambda: calls_made(upstream) == before + 1)
        half, idle = (stack.enter_context(few.connect()) for _ in range(2))
        half.sendall(HALF)
        idle.sendall(b"GET /local HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in idle.recv(4096)
        others = []
        while holds(few, half):
            assert len(others) < 60
            others.append(stack.enter_context(few.connect()))
            assert few.get("/local").status == 200
        idle.sendall(b"GET /local HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in idle.recv(4096), "it waited for less long"
        for _ in range(60):
            stack.enter_context(few.connect())
            assert few.get("/local").status == 200
        assert holds(few, busy)


def test_new_clients_are_refused_if_all_connections_have_requests(few: Server, upstream: Upstream) -> None:
    before = calls_made(upstream)
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(19):
            clients.append(stack.enter_context(few.connect()))
            clients[-1].sendall(b"GET /call/hang HTTP/1.1\r\nhost: x\r\n\r\n")
        assert eventually(lambda: calls_made(upstream) == before + 19)
        assert all(holds(few, client) for client in clients)
        with few.connect() as late, contextlib.suppress(ConnectionError):
            late.sendall(b"GET /local HTTP/1.1\r\nhost: x\r\n\r\n")
            assert late.recv(4096) == b"", "closed at once, and not left waiting"
        assert all(holds(few, client) for client in clients)
    assert eventually(lambda: _serves(few))


MANY = """
dragoman: 1
env: { UP: {} }
vars: { list: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18] }
upstreams:
  one: { url: "${ $env.UP }/one" }
  two: { url: "${ $env.UP }/two" }
  three: { url: "${ $env.UP }/three" }
routes:
  GET /local: { respond: { body: ok } }
  GET /many/{name}:
    calls:
      all: { each: "${ $vars.list }", upstream: "${ $request.params.name }", path: /json, parallel: 18 }
    respond: {}
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_idle_connections_are_closed_for_calls(upstream: Upstream, loop: str) -> None:
    """The pools of several upstreams together need more descriptors than are available."""
    with (
        dragoman_server(MANY, {"UP": upstream.url}, SLOW_HEADS, command=LOOPS[loop]) as own,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(15):
            stack.enter_context(own.connect()).sendall(HALF)
        for _ in range(2):
            assert [own.get(f"/many/{name}").status for name in ("one", "two", "three")] == [200] * 3
        assert own.get("/local").status == 200


def _rests(server: Server) -> bool:
    """Whether it uses almost no CPU time; a busy loop uses all it gets."""
    before = cpu_seconds(server)
    time.sleep(1)
    return cpu_seconds(server) - before < 0.1


def _serves(server: Server) -> bool:
    try:
        return server.get("/local", timeout=5).status == 200
    except OSError:
        return False
