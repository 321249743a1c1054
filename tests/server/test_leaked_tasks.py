"""Disconnected clients leave no task and no connection behind. The server runs in this process, so that the
tests can inspect it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from engine import Findings
from engine.server.serve import Limits, PlanSource, Server, Service
from tests.support.server import reset
from tests.support.times import PATIENCE
from tests.support.upstream import Channel, Seen, Upstream, eventually, head

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  GET /call: { call: GET up /tasks/hang, respond: { body: "${ @ }" } }
  POST /call: { call: { upstream: up, path: /tasks/hang, body: "${ @ }" }, respond: { body: "${ @ }" } }
  GET /stream:
    call: GET up /tasks/stream
    respond:
      stream_when: true
      pipeline: [{ to: { sse: {} }, keep_alive: 50ms, rules: [{ emit: "${ @ }" }] }]
  GET /local: { respond: { body: ok } }
"""
QUICK = 10_000 if os.environ.get("DRAGOMAN_TORTURE") else 1_000
EVENT = b'data: {"n": "' + b"x" * 1_000_000 + b'"}\n\n'


class Running:
    """A server in a thread of this process."""

    def __init__(self, source: PlanSource) -> None:
        limits = Limits(keep_alive=1, grace=1, allowed_hosts="x")
        self.server = Server(Service(source, source.load(Findings()), "127.0.0.1", 0, limits, self.ready))
        self.loop: asyncio.AbstractEventLoop | None = None
        self.address = ("", 0)

    async def serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        await self.server.serve()

    def ready(self, url: str) -> None:
        parts = urlsplit(url)
        self.address = (parts.hostname or "", parts.port or 0)

    @property
    def tasks(self) -> int:
        """Returns the number of tasks in the server's event loop."""
        assert self.loop is not None

        async def count() -> int:
            return len(asyncio.all_tasks()) - 1

        return asyncio.run_coroutine_threadsafe(count(), self.loop).result(PATIENCE)

    @property
    def is_quiet(self) -> bool:
        """Whether no task or connection of a client is left."""
        state = self.server.server_state
        return not state.connections and not state.tasks

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, PATIENCE)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    async def flood(channel: Channel, seen: Seen) -> None:
        channel.keep_alive = False
        with contextlib.suppress(ConnectionError):
            await channel.send(head(200, [("content-type", "text/event-stream")]))
            while not channel.gone.is_set():
                await channel.send(EVENT)

    with Upstream() as running:
        running.on("/tasks/stream", flood)
        yield running


@pytest.fixture
def running(upstream: Upstream, tmp_path: Path) -> Iterator[Running]:
    file = tmp_path / "mapping.yaml"
    file.write_text(MAPPING)
    own = Running(PlanSource((str(file),), tuple, lambda: {"UP": upstream.url}, "127.0.0.1"))
    thread = threading.Thread(target=lambda: asyncio.run(own.serve()), daemon=True)
    thread.start()
    assert eventually(lambda: own.address[1])
    yield own
    own.server.should_exit = True
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_streams_of_clients_that_reset(running: Running, upstream: Upstream) -> None:
    before = running.tasks
    clients = [running.connect() for _ in range(200)]
    for client in clients:
        client.sendall(b"GET /stream HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert upstream.eventually(lambda up: len(up.open) == 200)
    assert running.tasks >= before + 200
    for client in clients:
        reset(client)
    assert eventually(lambda: running.is_quiet and running.tasks == before)
    assert upstream.eventually(lambda up: not up.open)


def test_quick_disconnects(running: Running, upstream: Upstream) -> None:
    """At every moment of a request: before, within and after its head, its body and its response."""
    before = running.tasks
    requests = [
        b"", b"GET /lo", b"GET /call HTTP/1.1\r\n\r\n",
        b"GET /local HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /call HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST /call HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{",
        b"GET /local HTTP/1.1\r\nhost: localhost\r\n\r\nGET /call HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ]  # fmt: skip
    for number in range(QUICK):
        client = running.connect()
        client.sendall(requests[number % len(requests)])
        (reset if number % 2 else socket.socket.close)(client)
    assert eventually(lambda: running.is_quiet and running.tasks == before)
    assert upstream.eventually(lambda up: not up.open)


def test_a_client_that_half_closes_has_disconnected(running: Running, upstream: Upstream) -> None:
    with running.connect() as client:
        client.sendall(b"GET /call HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert upstream.eventually(lambda up: up.open)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    assert upstream.eventually(lambda up: not up.open)
    assert eventually(lambda: running.is_quiet)
