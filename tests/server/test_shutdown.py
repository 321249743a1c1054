"""Shutdown of a process: running requests finish, endless ones receive an error, nothing is left open."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.server import Server, dragoman_server, read_all
from tests.support.times import SOON
from tests.support.upstream import Channel, Seen, Upstream, after, drip, eventually, head, json_response

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
errors: { body: { failed: "${ kind }", message: "${ message }" } }
routes:
  GET /call/{name}: { call: "GET up /end/${ $request.params.name }", respond: { body: "${ @ }" } }
  GET /stream/{name}:
    call: "GET up /end/${ $request.params.name }"
    respond:
      stream_when: true
      pipeline: [{ to: { sse: { done: "[DONE]" } }, rules: [{ emit: "${ @ }" }] }]
  GET /lines/{name}:
    call: "GET up /end/${ $request.params.name }"
    respond:
      stream_when: true
      pipeline:
        - from: sse
        - to: ndjson
          rules: [{ emit: "${ @ }" }]
          error: [{ emit: { broken: "${ kind }" } }]
"""
SSE = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    event = b'data: {"n":1}\n\n'
    chunk = b"%x\r\n%b\r\n" % (len(event), event)

    async def finite(channel: Channel, seen: Seen) -> None:
        await drip(head(200, SSE), chunk, 0.05, 20)(channel, seen)
        await channel.send(b"0\r\n\r\n")

    with Upstream() as running:
        running.on("/end/late", after(1.0, json_response({"late": True})))
        running.on("/end/finite", finite)
        running.on("/end/endless", drip(head(200, SSE) + chunk, chunk, 0.05))
        running.on("/end/silent", drip(head(200, SSE) + chunk, chunk, 60))
        yield running


def test_running_requests_finish(upstream: Upstream) -> None:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as server, ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(server.get, "/call/late") for _ in range(10)]
        streams = [pool.submit(server.get, "/stream/finite") for _ in range(10)]
        assert upstream.eventually(lambda up: len(up.requests) == 20)
        server.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: _refuses(server))
        assert [each.result().json for each in calls] == [{"late": True}] * 10
        assert [each.result().text.count('"n":1') for each in streams] == [20] * 10
        assert all(each.result().text.endswith("[DONE]\n\n") for each in streams)
        assert server.process.wait(SOON) == 0
    assert upstream.eventually(lambda up: not up.open)


def _refuses(server: Server) -> bool:
    try:
        server.connect(0.2).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("name", ["endless", "silent"])
def test_endless_requests_receive_an_error(upstream: Upstream, name: str) -> None:
    args = ("--grace", "2")
    with dragoman_server(MAPPING, {"UP": upstream.url}, args) as server, contextlib.ExitStack() as stack:
        requests = [f"/stream/{name}"] * 5 + [f"/lines/{name}"] * 5 + ["/call/hang"] * 3
        clients = [stack.enter_context(server.connect()) for _ in requests]
        for client, path in zip(clients, requests, strict=True):
            client.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        starts = [client.recv(65_536) for client in clients[:10]]
        assert upstream.eventually(lambda up: len(up.requests) == 13)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        responses = [read_all(client) for client in clients]
        assert server.process.wait(SOON) == 0
        assert 1 < time.monotonic() - started < SOON
    assert all(start.startswith(b"HTTP/1.1 200 ") for start in starts)
    for response in responses[:5]:
        assert (
            b'data: {"failed":"upstream_unavailable","message":"the server is shutting down"}\n\n' in response
        )
        assert b"[DONE]" not in response
        assert response.endswith(b"}\n\n\r\n0\r\n\r\n"), "the error event, then the regular end"
    for response in responses[5:10]:
        assert b'{"broken":"upstream_unavailable"}\n' in response
        assert response.endswith(b"}\n\r\n0\r\n\r\n")
    for response in responses[10:]:
        assert response.startswith(b"HTTP/1.1 503 ")
        assert json.loads(response.partition(b"\r\n\r\n")[2])["failed"] == "upstream_unavailable"
    assert upstream.eventually(lambda up: not up.open)
    lines = [line for line in server.log() if line["event"] == "request"]
    assert [line["error_kind"] for line in lines] == ["upstream_unavailable"] * 13


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(upstream: Upstream, number: signal.Signals) -> None:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as server:
        client = server.connect()
        client.sendall(b"GET /stream/endless HTTP/1.1\r\nhost: x\r\n\r\n")
        assert upstream.eventually(lambda up: up.requests)
        server.process.send_signal(number)
        assert eventually(lambda: _refuses(server))
        server.process.send_signal(number)
        assert server.process.wait(SOON) == 0
        client.close()
    assert upstream.eventually(lambda up: not up.open)


def test_a_request_with_an_incomplete_head_is_served(upstream: Upstream) -> None:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as server, server.connect() as client:
        client.sendall(b"GET /call/json HTTP/1.1\r\n")
        assert server.get("/nowhere").status == 404, "the earlier bytes have been read too"
        server.process.send_signal(signal.SIGTERM)
        threading.Timer(0.3, client.sendall, (b"host: x\r\n\r\n",)).start()
        response = read_all(client)
        assert response.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in response
        assert server.process.wait(SOON) == 0
