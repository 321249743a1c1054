"""The application under ASGI servers other than our own, and below a path of another application."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.applications import KINDS, application_server
from tests.support.server import Server
from tests.support.times import A_SECOND, PATIENCE
from tests.support.upstream import Events, Upstream, refusing

MAPPING = """
dragoman: 1
name: shop
env: { UP: {}, NOWHERE: { default: "http://127.0.0.1:9" } }
upstreams:
  up: { url: "${ $env.UP }/up" }
  nowhere: { url: "${ $env.NOWHERE }" }
cors: { origins: ["https://shop.example.com"] }
errors: { body: { failed: "${ kind }", message: "${ message }" } }
routes:
  POST /chat:
    call: { upstream: up, path: /echo, body: { text: "${ prompt }" } }
    respond: { body: { text: "${ from_json(body).text }" } }
  GET /items/{id}:
    call: GET up /items/${ $request.params.id }
    respond: { body: { target: "${ target }" } }
  GET /events:
    call: GET up /events
    respond: { stream_when: true, pipeline: [{ to: ndjson, rules: [{ emit: { item: "${ n }" } }] }] }
  GET /lively:
    call: GET up /events
    respond: { stream_when: true, pipeline: [{ to: sse, keep_alive: 300ms, rules: [{ emit: "${ @ }" }] }] }
  GET /hang: { call: GET up /hang, respond: { body: "${ @ }" } }
  GET /failing: { call: GET nowhere /, respond: { body: "${ @ }" } }
  GET /download/{name}: { forward: "up /${ $request.params.name }" }
  POST /upload: { forward: up /echo }
  POST /small: { request: { max_bytes: 100 }, respond: { body: "${ length(to_json(@)) }" } }
  GET /local: { respond: { body: ok } }
  GET /metrics: { builtin: metrics }
"""
PAGE = "https://shop.example.com"


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[Server]:
    with refusing() as nowhere:
        env = {"UP": upstream.url, "NOWHERE": nowhere}
        with application_server(request.param, MAPPING, env, expect_clean=False) as running:
            yield running


def test_a_translation(server: Server, upstream: Upstream) -> None:
    response = server.post(
        "/chat", {"prompt": "hello"}, headers={"x-request-id": f"chat-{server.address[1]}"}
    )
    assert (response.status, response.json) == (200, {"text": "hello"})
    assert response.header("content-type") == "application/json"
    (seen,) = upstream.seen(f"chat-{server.address[1]}")
    assert seen.json == {"text": "hello"}
    chunked = server.post("/chat", b'{"prompt": "in chunks"}', headers={"content-type": "application/json"})
    assert chunked.json == {"text": "in chunks"}


def test_the_path_is_that_below_the_mount_point(server: Server) -> None:
    assert server.get("/items/a%2Fb%20c?x=1").json == {"target": "/up/items/a%2Fb%20c"}
    assert server.get("/items/a").json == {"target": "/up/items/a"}


def test_events_are_sent_one_by_one(server: Server, upstream: Upstream) -> None:
    events = Events()
    upstream.on("/up/events", events)
    with client_of(server, "/events") as client:
        received = b""
        for number in range(5):
            events.send()
            received = read_until(client, received, b'{"item":%d}\n' % number)
            assert events.sent == number + 1
        events.end()
        received = read_until(client, received, b"0\r\n\r\n")
    assert received.count(b'"item"') == 5


def test_a_comment_keeps_a_silent_stream_alive(server: Server, upstream: Upstream) -> None:
    events = Events()
    upstream.on("/up/events", events)
    with client_of(server, "/lively") as client:
        events.send()
        received = read_until(client, b"", b'data: {"n":0}')
        received = read_until(client, received.partition(b'{"n":0}')[2], b":")
        events.send()
        read_until(client, received, b'data: {"n":1}')


def test_a_client_that_disconnects_from_a_stream_releases_the_upstream(
    server: Server, upstream: Upstream
) -> None:
    events = Events()
    upstream.on("/up/events", events)
    identity = f"gone-{server.address[1]}"
    with client_of(server, "/events", identity) as client:
        events.send()
        read_until(client, b"", b'{"item":0}')
    assert upstream.eventually(lambda up: is_released(up, identity), A_SECOND)
    line = server.logged(identity)
    assert (line["status_code"], line["error_kind"], line["events"]) == (499, "client_disconnected", 1)


@pytest.mark.parametrize("path", ["/hang", "/download/hang-in-body"])
def test_a_client_that_disconnects_before_a_response_releases_the_upstream(
    server: Server, upstream: Upstream, path: str
) -> None:
    identity = f"early-{len(path)}-{server.address[1]}"
    with client_of(server, path, identity):
        assert upstream.eventually(lambda up: up.seen(identity))
    assert upstream.eventually(lambda up: is_released(up, identity), A_SECOND)
    assert server.logged(identity)["status_code"] == 499


def test_a_failed_upstream(server: Server) -> None:
    response = server.get("/failing", headers={"x-request-id": f"failing-{server.address[1]}"})
    assert (response.status, response.json["failed"]) == (502, "upstream_error")
    line = server.logged(f"failing-{server.address[1]}")
    assert (line["level"], line["error_kind"], line["path"]) == ("error", "upstream_error", "/failing")


def test_a_truncated_upstream_truncates_the_response(server: Server) -> None:
    # Starlette's BaseHTTPMiddleware completes a response of unknown length before it raises the exception.
    for name in ("half-json-short", "half-chunk")[: 1 if getattr(server, "prefix", "") else 2]:
        response = server.get(f"/download/{name}", expect_truncated=True)
        assert response.status == 200
    assert server.get("/local").status == 200


def test_misses(server: Server) -> None:
    missing, method = server.get("/nowhere"), server.request("PUT", "/chat")
    assert (missing.status, missing.json["failed"]) == (404, "not_found")
    assert (method.status, method.json["failed"]) == (405, "method_not_allowed")
    assert method.header("allow") == "POST"


def test_head(server: Server, upstream: Upstream) -> None:
    got, response = server.get("/local"), server.request("HEAD", "/local")
    assert (response.status, response.body) == (200, b"")
    assert response.header("content-length") == got.header("content-length") == str(len(got.body))
    assert server.request("HEAD", "/download/json").body == b""
    assert server.get("/download/not-modified").status == 304
    assert server.get("/download/no-content").status == 204


def test_requests_after_another_on_one_connection(server: Server) -> None:
    data = request_of(server, "HEAD", "/local") + request_of(server, "GET", "/local", "connection: close\r\n")
    received = server.raw(data)
    assert received.count(b"HTTP/1.1 200") == 2
    assert received.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize("framing", ["content-length: 1000\r\n", "transfer-encoding: chunked\r\n"])
def test_a_body_that_is_too_large(server: Server, framing: str) -> None:
    body = b"x" * 1000 if "length" in framing else b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n"
    received = server.raw(request_of(server, "POST", "/small", framing + "connection: close\r\n") + body)
    assert received.startswith(b"HTTP/1.1 413")
    assert b"payload_too_large" in received


def test_a_large_body_is_forwarded(server: Server) -> None:
    body = b"x" * 3_000_000
    response = server.post("/upload", body, headers={"content-type": "text/plain"})
    assert len(response.json["body"]) == len(body)
    assert response.json["headers"]["content-length"] == str(len(body))


def test_an_ignored_body(server: Server) -> None:
    assert server.request("GET", "/local", b"x" * 3_000_000).text == "ok"
    assert server.request("POST", "/nowhere", b"x" * 3_000_000).status == 404


@pytest.mark.parametrize(
    "framing",
    [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "content-length: +5\r\n",
    ],
)
def test_ambiguous_framing_reaches_no_upstream(server: Server, upstream: Upstream, framing: str) -> None:
    identity = f"smuggled-{threading.get_ident()}-{time.monotonic_ns()}"
    head_ = request_of(server, "POST", "/upload", framing + f"x-request-id: {identity}\r\n")
    received = server.raw(head_ + b"0\r\n\r\nGET /local HTTP/1.1\r\nhost: x\r\n\r\n", timeout=2)
    assert not received.startswith(b"HTTP/1.1 2"), received
    assert not upstream.seen(identity)


def test_cors(server: Server) -> None:
    fields = {"origin": PAGE, "access-control-request-method": "POST"}
    preflight = server.request("OPTIONS", "/chat", headers=fields)
    assert preflight.status == 200
    assert preflight.header("access-control-allow-origin") == PAGE
    assert server.get("/local", headers={"origin": PAGE}).header("access-control-allow-origin") == PAGE
    other = server.get("/local", headers={"origin": "https://evil.example"})
    assert other.header("access-control-allow-origin") is None
    assert server.get("/local").header("vary") == "Origin"


def test_hosts_are_not_checked_unless_wanted(server: Server) -> None:
    assert status_of(server, "rebound.example") == 200


def test_logs_and_metrics(server: Server) -> None:
    identity = f"logged-{server.address[1]}"
    server.get("/local?secret=1", headers={"x-request-id": identity})
    line = server.logged(identity)
    assert (line["mapping"], line["route"], line["path"]) == ("shop", "GET /local", "/local")
    families = {found.name: found for found in text_string_to_metric_families(server.get("/metrics").text)}
    labels = {"mapping": "shop", "http_route": "/local"}
    samples = families["http_server_request_duration_seconds"].samples
    assert any(labels.items() <= sample.labels.items() for sample in samples)
    assert [sample.value for sample in families["http_server_active_requests"].samples] == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_an_allowed_host_and_its_pages(kind: str) -> None:
    with application_server(
        kind, MAPPING, {"UP": "http://127.0.0.1:9"}, allowed_hosts=["*.example.com"]
    ) as own:
        statuses = [status_of(own, host) for host in ("127.0.0.1", "api.example.com", "rebound.example")]
        pages = [
            own.get("/local", headers={"origin": page}).status for page in (PAGE, "https://evil.example")
        ]
        assert statuses == [200, 200, 403]
        assert pages == [200, 403]


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_ends_during_a_stream(kind: str, upstream: Upstream) -> None:
    events = Events()
    upstream.on("/up/events", events)
    identity = f"ending-{kind}"
    # uvicorn waits for streams as long as configured; the client ends this one.
    with application_server(kind, MAPPING, {"UP": upstream.url}) as own:
        with client_of(own, "/events", identity) as client:
            events.send()
            read_until(client, b"", b'{"item":0}')
            own.process.terminate()
            time.sleep(0.1)
        assert upstream.eventually(lambda up: is_released(up, identity), A_SECOND)


def test_the_application_next_to_it() -> None:
    with application_server("mounted", MAPPING, {"UP": "http://127.0.0.1:9"}) as own:
        found = own.raw(b"GET /own HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert found.endswith(b"of the application around it")
        outside = own.raw(b"GET /local HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert outside.startswith(b"HTTP/1.1 404")


def test_http_2(upstream: Upstream) -> None:
    with (
        application_server("hypercorn", MAPPING, {"UP": upstream.url}) as own,
        httpx.Client(http1=False, http2=True, base_url=own.url, timeout=PATIENCE) as client,
    ):
        assert client.get("/local").text == "ok"
        assert client.post("/chat", json={"prompt": "two"}).json() == {"text": "two"}
        body = client.post("/upload", content=iter([b"in", b" two"])).json()
        assert (body["body"], body["headers"].get("transfer-encoding")) == ("in two", "chunked")
        echoed = client.get("/download/echo").json()
        assert not {"transfer-encoding", "content-length"} & echoed["headers"].keys()


# --- Support ---------------------------------------------------------------------------------------------


def request_of(server: Server, method: str, path: str, fields: str = "") -> bytes:
    prefix = getattr(server, "prefix", "")
    return f"{method} {prefix}{path} HTTP/1.1\r\nhost: x\r\n{fields}\r\n".encode()


def status_of(server: Server, host: str) -> int:
    """The status of a request with this Host."""
    data = request_of(server, "GET", "/local", "connection: close\r\n").replace(
        b": x\r", b": %b\r" % host.encode()
    )
    return int(server.raw(data).split(b" ")[1])


@contextlib.contextmanager
def client_of(server: Server, path: str, identity: str = "client") -> Iterator[socket.socket]:
    """A client that has sent a request, and closes its connection at the end."""
    with server.connect() as client:
        client.sendall(request_of(server, "GET", path, f"x-request-id: {identity}\r\n"))
        yield client


def read_until(client: socket.socket, received: bytes, expected: bytes) -> bytes:
    while expected not in received:
        data = client.recv(65_536)
        assert data, f"{expected!r} is not in {received!r}"
        received += data
    return received


def is_released(upstream: Upstream, identity: str) -> bool:
    """Whether the connections of the calls of a request are closed."""
    numbers = {seen.connection for seen in upstream.seen(identity)}
    return bool(numbers) and all(upstream.connections[number].closed is not None for number in numbers)
