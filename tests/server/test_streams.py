"""Streams over real sockets: their start, pace, errors, and clients that disconnect."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.server import Response, Server, dragoman_server, reset
from tests.support.times import A_SECOND, PATIENCE, SOON
from tests.support.upstream import (
    Behaviour,
    Channel,
    Seen,
    Upstream,
    complete_response,
    drip,
    eventually,
    head,
    json_response,
    raw,
)

RULES = """
          rules:
            - when: ${ error }
              emit: ${ fail('upstream_error', error) }
            - set: { count: "${ add($state.count, `1`) }" }
              emit: { n: "${ n }", text: "${ text }" }
          end:
            - emit: { count: "${ $state.count }" }
"""
MAPPING = f"""
dragoman: 1
env: {{ UP: {{}} }}
upstreams:
  up: {{ url: "${{ $env.UP }}" }}
  hurried: {{ url: "${{ $env.UP }}", timeout: {{ read: 300ms }} }}
  short: {{ url: "${{ $env.UP }}", timeout: {{ read: 3s, stream: 3s }} }}
  middle: {{ url: "mapping:middle" }}
routes:
  GET /short/{{name}}:
    call: "GET short /up/${{ $request.params.name }}"
    respond:
      stream_when: true
      pipeline:
        - from: sse
        - to: ndjson
          state: {{ count: 0 }}
{RULES}
  GET /sse/{{name}}:
    call: "GET up /up/${{ $request.params.name }}"
    respond:
      stream_when: true
      pipeline:
        - from: {{ sse: {{ done: "[DONE]" }} }}
        - to: {{ sse: {{ done: "[DONE]" }} }}
          state: {{ count: 0 }}
{RULES}
  GET /ndjson/{{name}}:
    call: "GET up /up/${{ $request.params.name }}"
    respond:
      stream_when: true
      pipeline:
        - from: ndjson
        - to: ndjson
          state: {{ count: 0 }}
{RULES}
  GET /plain/{{name}}:
    call: "GET up /up/${{ $request.params.name }}"
    respond:
      stream_when: true
      pipeline:
        - from: sse
        - to: sse
          state: {{ count: 0 }}
{RULES}
  GET /hurried/{{name}}:
    call: "GET hurried /up/${{ $request.params.name }}"
    respond:
      stream_when: true
      pipeline:
        - from: sse
        - to: sse
          state: {{ count: 0 }}
{RULES}
  GET /beating/{{name}}:
    call: "GET up /up/${{ $request.params.name }}"
    respond:
      stream_when: true
      pipeline:
        - from: sse
        - to: sse
          keep_alive: 20ms
          state: {{ count: 0 }}
{RULES}
  GET /beating-lines/{{name}}:
    call: "GET hurried /up/${{ $request.params.name }}"
    respond:
      stream_when: true
      pipeline:
        - from: sse
        - to: ndjson
          keep_alive: 20ms
          state: {{ count: 0 }}
{RULES}
  GET /named/{{name}}:
    call: "GET up /up/${{ $request.params.name }}"
    respond:
      stream_when: true
      pipeline:
        - from: sse
        - to: {{ sse: {{ event: "${{ if(text == 'bad', fail('internal', 'no name'), 'part') }}" }} }}
          rules: [{{ emit: "${{ @ }}" }}]
  GET /merged/{{name}}:
    call: "GET up /up/${{ $request.params.name }}"
    respond:
      pipeline:
        - merge: {{ all: append }}
          rules:
            - when: ${{ error }}
              emit: ${{ fail('upstream_error', error) }}
            - emit: {{ all: ["${{ n }}"] }}
          complete: {{ all: ["${{ n }}"] }}
  GET /deep/{{name}}:
    call: "GET middle /go/${{ $request.params.name }}"
    respond:
      stream_when: true
      pipeline: [{{ from: sse }}, {{ to: sse, rules: [{{ emit: {{ outer: "${{ @ }}" }} }}] }}]
  GET /generated: {{ respond: {{ stream: {{ to: sse, emit: [1, 2], every: 400ms, keep_alive: 20ms }} }} }}
  GET /json/{{name}}: {{ call: "GET up /up/json", respond: {{ body: "${{ @ }}" }} }}
"""
MIDDLE = """
dragoman: 1
name: middle
prefix: /middle
upstreams: { inner: { url: "mapping:inner" } }
routes:
  GET /go/{name}:
    call: "GET inner /go/${ $request.params.name }"
    respond:
      stream_when: true
      pipeline: [{ from: ndjson }, { to: ndjson, rules: [{ emit: { middle: "${ @ }" } }] }]
"""
INNER = """
dragoman: 1
name: inner
prefix: /inner
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  GET /go/{name}:
    call: "GET up /up/${ $request.params.name }"
    respond:
      stream_when: true
      pipeline: [{ from: sse }, { to: ndjson, rules: [{ emit: { inner: "${ n }" } }] }]
"""
MAPPINGS = {"outer.yaml": MAPPING, "middle.yaml": MIDDLE, "inner.yaml": INNER}
SSE = "text/event-stream"
STARTED = head(200, [("content-type", SSE), ("transfer-encoding", "chunked")])
END = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Upstream, Server]]:
    with Upstream() as upstream, dragoman_server(MAPPINGS, {"UP": upstream.url}) as server:
        yield upstream, server


@pytest.fixture
def upstream(running: tuple[Upstream, Server]) -> Upstream:
    """An upstream without earlier requests."""
    upstream = running[0]
    upstream.forget()
    return upstream


@pytest.fixture
def server(running: tuple[Upstream, Server], upstream: Upstream) -> Server:
    return running[1]


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(value: Any) -> bytes:
    """Returns a chunk with one event."""
    return chunk(b"data: " + json.dumps(value).encode() + b"\n\n")


def events(*values: Any, closing: bytes = b"") -> Behaviour:
    return complete_response(
        200, b"".join(b"data: %s\n\n" % json.dumps(v).encode() for v in values) + closing, SSE
    )


class Gated:
    """A behaviour that sends its pieces one by one, each after a `release`."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self._gate = threading.Semaphore(0)
        self.sent = 0

    def release(self) -> None:
        self._gate.release()

    async def __call__(self, channel: Channel, seen: Seen) -> None:
        await channel.send(STARTED)
        for piece in self._pieces:
            while not self._gate.acquire(blocking=False):
                if await channel.pause(0.002):
                    return
            self.sent += 1
            await channel.send(piece)


@contextlib.contextmanager
def opened(server: Server, path: str) -> Iterator[http.client.HTTPResponse]:
    """Opens a response whose body is still unread."""
    connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path)
        yield connection.getresponse()


def read_event(response: http.client.HTTPResponse) -> Any:
    """Reads the next event, without comments."""
    while True:
        line = response.readline()
        assert line, "the stream has ended"
        if line.startswith(b"data: "):
            return json.loads(line[6:])


def data_of(response: Response) -> list[Any]:
    """Returns the data of all events; the end marker as text."""
    found = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    return [one if one == "[DONE]" else json.loads(one) for one in found]


# --- The head waits for the first event ------------------------------------------------------------------


FIRST: dict[str, tuple[Behaviour, int]] = {
    "closes": (raw(STARTED, "close"), 502),
    "resets": (raw(STARTED, "reset"), 502),
    "ends": (raw(STARTED + END), 502),
    "ends-with-done": (raw(STARTED + chunk(b"data: [DONE]\n\n") + END), 502),
    "only-comments": (raw(STARTED + chunk(b": hello\n\n") + END), 502),
    "half-an-event": (raw(STARTED + chunk(b'data: {"n"'), "close"), 502),
    "no-json": (raw(STARTED + chunk(b"data: <html>\n\n"), "hang"), 502),
    "error": (events({"error": "out of memory"}), 502),
    "html": (complete_response(200, b"<html>internal.example</html>", "text/html"), 502),
    "empty-json": (complete_response(200, b""), 502),
    "silent": (raw(STARTED, "hang"), 504),
    "no-head": (raw(b"", "hang"), 504),
    "server-error": (complete_response(500, b"x", "text/html"), 502),
    "refused": (json_response({"error": "wrong"}, 400), 400),
}


@pytest.mark.parametrize("name", FIRST)
def test_an_error_before_the_first_event_has_a_status(server: Server, upstream: Upstream, name: str) -> None:
    behaviour, status = FIRST[name]
    upstream.on("/up/it", behaviour)
    response = server.get("/hurried/it" if status == 504 else "/plain/it")
    assert response.status == status, response.text
    assert response.header("content-type") == "application/json"
    assert set(response.json["error"]) >= {"message", "type"}
    assert b"internal.example" not in response.body
    if name != "ends-with-done":
        return
    assert server.get("/sse/it").status == 502


def test_a_merged_stream_fails_with_a_status(server: Server, upstream: Upstream) -> None:
    for behaviour in (
        events({"n": 1}, {"error": "out of memory"}),
        raw(STARTED + event({"n": 1}), "close"),
        raw(STARTED + END),
        complete_response(200, b"<html>", "text/html"),
    ):
        upstream.on("/up/it", behaviour)
        assert server.get("/merged/it").status == 502
    assert upstream.eventually(lambda up: len(up.open) <= 1)


def test_a_merged_stream(server: Server, upstream: Upstream) -> None:
    upstream.on("/up/it", events({"n": 1}, {"n": 2}, {"n": 3}))
    response = server.get("/merged/it")
    assert (response.status, response.json) == (200, {"all": [1, 2, 3]})
    assert response.header("content-type") == "application/json"
    upstream.on("/up/it", json_response({"n": 4}))
    assert server.get("/merged/it").json == {"all": [4]}


# --- Events without delay --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/sse/it", "/beating/it", "/deep/it"])
def test_events_arrive_while_the_upstream_still_sends(server: Server, upstream: Upstream, path: str) -> None:
    closing = chunk(b"data: [DONE]\n\n") if path == "/sse/it" else b""
    gated = Gated(event({"n": 1}), event({"n": 2}), event({"n": 3}), closing + END)
    upstream.on("/up/it", gated)
    gated.release()
    with opened(server, path) as response:
        assert response.status == 200
        for number in (1, 2, 3):
            assert f": {number}" in str(read_event(response))
            assert gated.sent == number
            gated.release()
        rest = response.read()
    assert gated.sent == 4
    assert rest.endswith(b"data: [DONE]\n\n") is (path == "/sse/it")


def test_a_complete_stream(server: Server, upstream: Upstream) -> None:
    upstream.on("/up/it", events({"n": 1}, {"n": 2}, closing=b"data: [DONE]\n\ndata: late\n\n"))
    response = server.get("/sse/it")
    assert data_of(response) == [{"n": 1}, {"n": 2}, {"count": 2}, "[DONE]"]
    assert response.header("content-type") == SSE
    assert response.header("cache-control") == "no-cache, no-transform"
    assert response.header("x-accel-buffering") == "no"
    assert response.header("content-length") is None
    assert response.header("x-request-id")


def test_ndjson_contains_no_line_end_of_any_reader(server: Server, upstream: Upstream) -> None:
    upstream.on("/up/it", events({"n": 1, "text": "a\u2028b\u2029c\x85d\n"}))
    response = server.get("/ndjson/it")
    assert response.header("content-type") == "application/x-ndjson"
    assert b"a\\u2028b\\u2029c\\u0085d\\n" in response.body
    assert len(response.text.splitlines()) == 2
    assert json.loads(response.text.splitlines()[0])["text"] == "a\u2028b\u2029c\x85d\n"


@pytest.mark.parametrize("path", ["/sse/it", "/beating/it"])
def test_json_instead_of_a_stream(server: Server, upstream: Upstream, path: str) -> None:
    upstream.on("/up/it", json_response({"n": 1}))
    assert [one for one in data_of(server.get(path)) if one != "[DONE]"] == [{"n": 1}, {"count": 1}]


def test_comments_keep_a_silent_stream_alive(server: Server, upstream: Upstream) -> None:
    gated = Gated(event({"n": 1}), event({"n": 2}), END)
    upstream.on("/up/it", gated)
    gated.release()
    with opened(server, "/beating/it") as response:
        assert read_event(response) == {"n": 1}
        assert [response.readline() for _ in range(5)] == [b"\n", b":\n", b"\n", b":\n", b"\n"]
        gated.release()
        gated.release()
        assert read_event(response) == {"n": 2}
        assert response.read().strip(b":\n") == b'data: {"count":2}'


def test_comments_keep_a_generated_stream_alive(server: Server) -> None:
    first, *comments, last = server.get("/generated").text.split("\n\n")[:-1]
    assert (first, last) == ("data: 1", "data: 2")
    assert comments
    assert set(comments) == {":"}


def test_comments_begin_before_the_first_event(server: Server, upstream: Upstream) -> None:
    gated = Gated(event({"n": 1}), END)
    upstream.on("/up/it", gated)
    with opened(server, "/beating/it") as response:
        assert response.status == 200, "the status is there though no event has come"
        assert gated.sent == 0
        assert response.getheader("content-type") == SSE
        assert [response.readline() for _ in range(4)] == [b":\n", b"\n", b":\n", b"\n"]
        gated.release()
        gated.release()
        assert read_event(response) == {"n": 1}
        assert response.read().replace(b":\n\n", b"") == b'\ndata: {"count":1}\n\n'


EARLY: dict[str, tuple[bytes, str]] = {
    "closes": (b"", "close"),
    "resets": (b"", "reset"),
    "ends": (END, "keep"),
    "no-json": (chunk(b"data: <html>\n\n"), "hang"),
    "error": (event({"error": "out of memory"}), "hang"),
}


@pytest.mark.parametrize("name", EARLY)
def test_an_error_after_comments_is_in_band(server: Server, upstream: Upstream, name: str) -> None:
    last, then = EARLY[name]
    let = threading.Event()

    async def behave(channel: Channel, seen: Seen) -> None:
        await channel.send(STARTED)
        while not let.is_set():
            if await channel.pause(0.002):
                return
        await raw(last, then)(channel, seen)

    upstream.on("/up/it", behave)
    with opened(server, "/beating/it") as response:
        assert response.status == 200
        assert response.readline() == b":\n"
        let.set()
        assert read_event(response)["error"]["type"] == "upstream_error"
        assert response.read() == b"\n", "the body ends regularly"
    assert upstream.eventually(lambda up: len(up.open) <= 1), "only an idle one stays open"


def test_without_comments_the_first_event_decides_the_status(server: Server, upstream: Upstream) -> None:
    """NDJSON has no comments, so an early status would have no use."""
    upstream.on("/up/it", raw(STARTED, "hang"))
    assert server.get("/beating-lines/it").status == 504


def test_a_client_disconnect_before_the_first_event_cancels_the_call(
    server: Server, upstream: Upstream
) -> None:
    upstream.on("/up/it", raw(STARTED, "hang"))
    with opened(server, "/beating/it") as response:
        assert response.readline() == b":\n"
    assert upstream.eventually(lambda up: not up.open, A_SECOND)


def test_an_error_in_mid_stream_is_the_last_event(server: Server, upstream: Upstream) -> None:
    for behaviour in (
        events({"n": 1}, {"error": "out of memory"}, {"n": 2}),
        raw(STARTED + event({"n": 1}), "close"),
        raw(STARTED + event({"n": 1}) + chunk(b"data: <html>\n\n"), "hang"),
    ):
        upstream.on("/up/it", behaviour)
        first, last = data_of(server.get("/sse/it"))
        assert first == {"n": 1}
        assert last["error"]["type"] == "upstream_error"
    assert upstream.eventually(lambda up: len(up.open) <= 1)


def test_silence_in_mid_stream_is_an_error(server: Server, upstream: Upstream) -> None:
    upstream.on("/up/it", raw(STARTED + event({"n": 1}), "hang"))
    response = server.get("/short/it")
    first, last = [json.loads(line) for line in response.text.splitlines()]
    assert first["n"] == 1
    assert "error" in last
    assert server.logged(response.header("x-request-id") or "")["error_kind"] == "upstream_timeout"
    assert upstream.eventually(lambda up: not up.open)


def test_an_active_stream_ends_at_its_timeout(server: Server, upstream: Upstream) -> None:
    async def lively(channel: Channel, seen: Seen) -> None:
        await channel.send(head(200, [("content-type", "text/event-stream")]))
        while not await channel.pause(0.02):
            await channel.send(b'data: {"n": 1}\n\n')

    upstream.on("/up/lively", lively)
    response = server.get("/short/lively", headers={"x-request-id": "lively"})
    events = [json.loads(line) for line in response.text.splitlines()]
    assert events[0] == {"n": 1}
    assert "error" in events[-1]
    assert response.seconds < SOON
    assert server.logged("lively")["error_kind"] == "upstream_timeout"
    (seen,) = upstream.seen("lively")
    assert eventually(lambda: upstream.connections[seen.connection].closed is not None)


def test_an_event_that_cannot_be_written_ends_the_stream(server: Server, upstream: Upstream) -> None:
    upstream.on("/up/it", events({"text": "good"}, {"text": "bad"}, {"text": "good"}))
    response = server.get("/named/it")
    assert response.text.count("event: part") == 1
    assert "error" in data_of(response)[-1]


def test_head_reads_no_stream(server: Server, upstream: Upstream) -> None:
    upstream.on("/up/it", raw(STARTED + event({"n": 1}), "hang"))
    for path in ("/sse/it", "/deep/it"):
        response = server.request("HEAD", path)
        assert (response.status, response.body) == (200, b"")
    assert upstream.eventually(lambda up: not up.open, A_SECOND)


# --- Clients that disconnect -----------------------------------------------------------------------------


LEFT: dict[str, Behaviour] = {
    "middle": drip(STARTED + event({"n": 0}), event({"n": 1}), 0.005),
    "before": raw(STARTED, "hang"),
    "silent": raw(STARTED + event({"n": 0}), "hang"),
}


@pytest.mark.parametrize("kind", ["sse", "beating", "merged", "deep"])
@pytest.mark.parametrize("when", LEFT)
def test_ten_clients_disconnect_each_way_and_ten_are_served(
    server: Server, upstream: Upstream, when: str, kind: str
) -> None:
    upstream.on("/up/it", LEFT[when])
    upstream.on("/up/json", json_response({"ok": True}))
    request_id = uuid.uuid4().hex
    ways: list[Callable[[socket.socket], None]] = [socket.socket.close, reset]
    for leave in ways:
        before = len(upstream.requests)
        clients = [server.connect() for _ in range(10)]
        for client in clients:
            client.sendall(raw_request(f"/{kind}/it", request_id))
        assert upstream.eventually(lambda up: len(up.requests) - before >= 10)  # noqa: B023
        if kind == "beating" or (when != "before" and kind != "merged"):
            assert all(b"200 OK" in client.recv(65_536) for client in clients)
        for client in clients:
            leave(client)
        assert upstream.eventually(lambda up: not up.open, A_SECOND), f"{len(upstream.open)} calls are held"
    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(lambda _: server.get("/json/it").status, range(10))) == [200] * 10
    assert eventually(lambda: disconnects(server, request_id) == 20)


def raw_request(path: str, request_id: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: {request_id}\r\n\r\n".encode()


def disconnects(server: Server, request_id: str) -> int:
    """Returns the number of logged disconnects with this id."""
    lines = [line for line in server.log() if line.get("request_id") == request_id]
    return sum(line.get("status_code") == 499 for line in lines)


@pytest.mark.parametrize("kind", ["sse", "beating", "deep"])
def test_clients_that_stop_reading_slow_the_upstream(server: Server, upstream: Upstream, kind: str) -> None:
    sent = 0

    async def endless(channel: Channel, seen: Seen) -> None:
        nonlocal sent
        await channel.send(STARTED)
        piece = event({"n": "x" * 32_768})
        with contextlib.suppress(ConnectionError):
            while not channel.gone.is_set():
                await channel.send(piece)
                sent += len(piece)
                await asyncio.sleep(0)
        channel.keep_alive = False

    upstream.on("/up/it", endless)
    upstream.on("/up/json", json_response({"ok": True}))
    request_id = uuid.uuid4().hex
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(server.connect())
            client.sendall(raw_request(f"/{kind}/it", request_id))
        assert upstream.eventually(lambda up: len(up.open) == 20)
        assert eventually(lambda: _is_still(lambda: sent)), "the upstream is never held back"
        assert server.get("/json/it").status == 200
    assert eventually(lambda: disconnects(server, request_id) == 20)


def _is_still(value: Callable[[], int]) -> bool:
    """Whether a number has stopped growing."""
    before = value()
    time.sleep(0.2)
    return value() == before > 0
