"""The admin listener: three paths and nothing else, separate from the served mappings."""

from __future__ import annotations

import http.client
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.server.admin import parse_address
from tests.support.server import Response, Server, dragoman_server, failed_start
from tests.support.times import PATIENCE, SOON
from tests.support.upstream import Gated, Upstream, eventually, json_response

MAPPING = """
dragoman: 1
name: shop
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  GET /slow: { call: GET up /admin/slow, respond: { body: "${ @ }" } }
  GET /local: { respond: { body: ok } }
"""


def admin_of(server: Server) -> str:
    return str(next(line["url"] for line in server.log() if line["event"] == "admin_listening"))


def send_request(server: Server, path: str, method: str = "GET") -> Response:
    parts = urlsplit(admin_of(server))
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port or 0, timeout=PATIENCE)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return Response(response.status, response.getheaders(), body, 0)


@pytest.fixture
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}, ("--admin", "0")) as running:
        yield running


def test_known_and_unknown_paths(server: Server) -> None:
    assert urlsplit(admin_of(server)).hostname == "127.0.0.1"
    for path in ("/livez", "/readyz", "/metrics", "/livez?x=1"):
        assert send_request(server, path).status == 200, path
        assert send_request(server, path, "HEAD").body == b""
    for path in ("/", "/local", "/health", "/admin", "/config", "/metrics/", "//metrics"):
        response = send_request(server, path)
        assert (response.status, response.json["error"]["status"]) == (404, 404), path
    for method in ("POST", "PUT", "DELETE", "RELOAD"):
        assert send_request(server, "/metrics", method).status == 405
    for path in ("/livez", "/readyz", "/metrics"):
        assert server.get(path).status == 404, "what is served knows nothing of it"


def test_invalid_and_silent_clients_do_not_block(server: Server) -> None:
    parts = urlsplit(admin_of(server))
    for data in (b"\x16\x03\x01 nonsense\r\n\r\n", b"GET\r\n\r\n", b"x" * 20_000, b"GET /livez HTT"):
        with socket.create_connection((str(parts.hostname), parts.port or 0), 10) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as response_file:
                assert b" 200 " not in response_file.readline()
    assert send_request(server, "/livez").status == 200


def test_metrics_can_be_read(server: Server) -> None:
    server.get("/local")
    found = {
        family.name: family
        for family in text_string_to_metric_families(send_request(server, "/metrics").text)
    }
    assert {"http_server_request_duration_seconds", "dragoman_plan_generation"} <= found.keys()


def test_a_server_that_shuts_down_is_alive_but_not_ready(server: Server, upstream: Upstream) -> None:
    gated = Gated(json_response({"ok": True}))
    upstream.on("/admin/slow", gated)
    assert send_request(server, "/readyz").status == 200
    with ThreadPoolExecutor(1) as pool, gated:
        slow = pool.submit(server.get, "/slow")
        assert eventually(lambda: gated.here == 1)
        server.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: send_request(server, "/readyz").status == 503)
        assert send_request(server, "/livez").status == 200
        gated.release()
        assert slow.result().json == {"ok": True}
    assert server.process.wait(SOON) == 0


def is_refused(server: Server) -> bool:
    try:
        server.connect(1).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_is_not_ready_from_the_signal_to_the_exit(upstream: Upstream, workers: str) -> None:
    """Never ready in between: the prober would route requests to a server that accepts none."""
    args = ("--admin", "0", "--workers", workers)
    gated = Gated(json_response({"ok": True}))
    upstream.on("/admin/slow", gated)
    with dragoman_server(MAPPING, {"UP": upstream.url}, args) as server, ThreadPoolExecutor(1) as pool, gated:
        assert [send_request(server, "/readyz").status for _ in range(10)] == [200] * 10
        slow = pool.submit(server.get, "/slow")
        assert eventually(lambda: gated.here == 1)
        server.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: send_request(server, "/readyz").status == 503)
        assert eventually(lambda: is_refused(server)), "it takes no new clients"
        responses = [send_request(server, "/readyz") for _ in range(10)]
        assert {(response.status, response.text) for response in responses} == {
            (503, '{"status":"not ready"}')
        }
        gated.release()
        assert slow.result().json == {"ok": True}
        assert server.process.wait(SOON) == 0


def test_an_address_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        args = ("--admin", f"127.0.0.1:{taken.getsockname()[1]}")
        status, output = failed_start(MAPPING, {"UP": "http://127.0.0.1:9"}, args)
    assert status == 1
    assert "is already in use; choose another with --admin" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9090", ("127.0.0.1", 9090)),
        (":9090", ("127.0.0.1", 9090)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:0", ("::1", 0)),
        ("", None),
        ("localhost", None),
        ("localhost:", None),
        ("localhost:70000", None),
        ("localhost:-1", None),
        ("localhost:٣", None),
    ],
)
def test_addresses(text: str, expected: tuple[str, int] | None) -> None:
    if expected is not None:
        assert parse_address(text) == expected
    else:
        with pytest.raises(ValueError, match="HOST:PORT"):
            parse_address(text)
