"""Clients that disconnect while an upstream hangs, and a process that receives a signal."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.server import Server, dragoman_server, read_all, reset
from tests.support.times import A_SECOND, SOON
from tests.support.upstream import Upstream, after, eventually, json_response

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  GET /call/{name}: { call: "GET up /leave/${ $request.params.name }", respond: { body: "${ @ }" } }
  POST /call/{name}:
    call: { upstream: up, path: "/leave/${ $request.params.name }", body: "${ @ }" }
    respond: { body: "${ @ }" }
  GET /inside/{name}: { call: "GET me /call/${ $request.params.name }", respond: { body: "${ @ }" } }
  POST /local: { respond: { body: "${ n }" } }
""".replace(
    'upstreams: { up: { url: "${ $env.UP }" } }',
    'upstreams: { up: { url: "${ $env.UP }" }, me: { url: "mapping:other" } }',
)
OTHER = """
dragoman: 1
name: other
prefix: /other
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  GET /call/{name}: { call: "GET up /leave/${ $request.params.name }", respond: { body: "${ @ }" } }
"""
MAPPINGS = {"one.yaml": MAPPING, "other.yaml": OTHER}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPINGS, {"UP": upstream.url}) as running:
        yield running


@pytest.mark.parametrize("path", ["/call/hang", "/call/hang-in-body", "/call/drip", "/inside/hang"])
def test_twenty_clients_disconnect_each_way_and_twenty_are_served(
    server: Server, upstream: Upstream, path: str
) -> None:
    ways: list[Callable[[socket.socket], None]] = [socket.socket.close, reset]
    for leave in ways:
        before = len(upstream.connections)
        clients = [server.connect() for _ in range(20)]
        for client in clients:
            client.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert upstream.eventually(lambda up: len(up.connections) - before >= 20)  # noqa: B023
        for client in clients:
            leave(client)
        assert upstream.eventually(lambda up: not up.open, A_SECOND), f"{len(upstream.open)} calls are held"
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: server.get("/call/json").status, range(20)))
    assert statuses == [200] * 20
    assert eventually(lambda: sum(line.get("status_code") == 499 for line in server.log()) == 40)


def test_many_clients_disconnect(server: Server, upstream: Upstream) -> None:
    for round_ in range(3):
        clients = [server.connect() for _ in range(100)]
        for client in clients:
            client.sendall(b"GET /call/hang HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(0.02 * round_)
        for number, client in enumerate(clients):
            (reset if number % 2 else socket.socket.close)(client)
    assert eventually(lambda: not upstream.open, A_SECOND)
    with ThreadPoolExecutor(25) as pool:
        assert set(pool.map(lambda _: server.get("/call/json").status, range(50))) == {200}


def test_clients_that_disconnect_midway_through_their_body(server: Server, upstream: Upstream) -> None:
    for path in ("/local", "/call/json", "/nowhere"):
        for leave in (socket.socket.close, reset):
            client = server.connect()
            client.sendall(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{{".encode())
            time.sleep(0.02)
            leave(client)
    assert server.post("/local", {"n": 1}).json == 1
    assert upstream.requests == []


def test_a_pipelined_request_waits_its_turn(server: Server, upstream: Upstream) -> None:
    upstream.on("/leave/late", after(0.1, json_response({"late": True})))
    data = server.raw(
        b"GET /call/late HTTP/1.1\r\nhost: x\r\n\r\n"
        b"GET /call/json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    assert data.count(b"HTTP/1.1 200") == 2
    assert data.index(b"late") < data.index(b'"ok"')


# --- The end of the process ------------------------------------------------------------------------------


def test_term_lets_running_requests_finish(upstream: Upstream) -> None:
    upstream.on("/leave/late", after(0.5, json_response({"late": True})))
    with dragoman_server(MAPPINGS, {"UP": upstream.url}) as server, ThreadPoolExecutor(10) as pool:
        running = [pool.submit(server.get, "/call/late") for _ in range(10)]
        assert upstream.eventually(lambda up: len(up.requests) == 10)
        server.process.send_signal(signal.SIGTERM)
        assert [each.result().json for each in running] == [{"late": True}] * 10
        assert server.process.wait(SOON) == 0
        with pytest.raises(OSError, match="refused"):
            server.connect()
    assert upstream.eventually(lambda up: not up.open)


def test_term_with_idle_and_abandoned_connections(upstream: Upstream) -> None:
    with dragoman_server(MAPPINGS, {"UP": upstream.url}) as server, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(5)]
        hanging = server.connect()
        hanging.sendall(b"GET /call/hang HTTP/1.1\r\nhost: x\r\n\r\n")
        assert upstream.eventually(lambda up: up.requests)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        hanging.close()
        assert server.process.wait(SOON) == 0
        assert [read_all(connection) for connection in idle] == [b""] * 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_at_once(number: signal.Signals) -> None:
    with dragoman_server("dragoman: 1\nroutes: { GET /x: { respond: { body: x } } }") as server:
        assert server.stop(number, A_SECOND) == 0
