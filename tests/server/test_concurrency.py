"""`concurrency` limits the exchanges of a route at a time, streams included; every slot is released."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.upstream import Gated, Upstream, drip, eventually, head, json_response

MAPPING = """
dragoman: 1
name: outer
env: { UP: {} }
upstreams:
  up: { url: "${ $env.UP }" }
  inner: { url: "mapping:inner" }
errors: { body: { kind: "${ kind }" } }
routes:
  GET /slow: { concurrency: 2, call: GET up /slow, respond: { body: "${ @ }" } }
  GET /through/{path:path}: { concurrency: 1, forward: "up /${ $request.params.path }" }
  GET /inside/{path:path}: { forward: "inner /${ $request.params.path }" }
  GET /inside-too: { call: GET inner /echo, respond: { body: "${ @ }" } }
  GET /wrong: { concurrency: 1, respond: { body: "${ fail('invalid_request', 'no') }" } }
"""
INNER = """
dragoman: 1
name: inner
prefix: /inner
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  GET /{path:path}: { concurrency: 1, forward: "up /${ $request.params.path }" }
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        upstream.on("/for-ever", drip(head(200, [("transfer-encoding", "chunked")]), b"1\r\nx\r\n", 0.05))
        yield upstream


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server({"outer.yaml": MAPPING, "inner.yaml": INNER}, {"UP": upstream.url}) as running:
        yield running


def test_the_limit_is_never_exceeded(server: Server, upstream: Upstream) -> None:
    for _ in range(2):
        gated = Gated(json_response({"ok": True}))
        upstream.on("/slow", gated)
        with ThreadPoolExecutor(6) as pool, gated:
            calls = [pool.submit(server.get, "/slow") for _ in range(6)]
            assert eventually(lambda: sum(call.done() for call in calls) == 4), "no request is queued"  # noqa: B023
            assert eventually(lambda: gated.here == 2)  # noqa: B023
            gated.release()
            responses = [call.result() for call in calls]
        refused = [response for response in responses if response.status == 503]
        assert sorted(response.status for response in responses) == [200] * 2 + [503] * 4
        assert {(response.header("retry-after"), response.json["kind"]) for response in refused} == {
            ("1", "overloaded")
        }
        assert gated.most == 2


def test_failed_requests_release_their_slots(server: Server) -> None:
    assert [server.get("/wrong").status for _ in range(3)] == [400] * 3


@pytest.mark.parametrize("prefix", ["/through", "/inside"])
def test_a_stream_holds_its_slot_until_its_end(server: Server, prefix: str) -> None:
    with server.connect() as connection:
        connection.sendall(f"GET {prefix}/for-ever HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        assert server.get(f"{prefix}/json").status == 503
    assert eventually(lambda: server.get(f"{prefix}/json").status == 200), "the client has disconnected"


def test_a_disconnected_client_releases_its_slot(server: Server) -> None:
    for _ in range(4):
        with server.connect() as connection:
            connection.sendall(b"GET /through/hang HTTP/1.1\r\nhost: x\r\n\r\n")
            time.sleep(0.1)
        assert eventually(lambda: server.get("/through/json").status == 200)


def test_in_process_calls_release_their_slots(server: Server) -> None:
    assert [server.get("/inside-too").status for _ in range(3)] == [200] * 3
    assert [server.get("/inside/status/500").status for _ in range(3)] == [500] * 3
