"""The last bytes of streams on the wire, of failed and of successful ones.

After an error event the body ends regularly, so that no client drops the event; the connection is closed
without the last chunk only if nothing could be written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.upstream import Behaviour, Upstream, complete_response, head, raw

SSE = "text/event-stream"
STARTED = head(200, [("content-type", SSE), ("transfer-encoding", "chunked")])
FIRST = b'f\r\ndata: {"n":1}\n\n\r\n'

MAPPINGS = {
    "ends.yaml": """
      dragoman: 1
      name: ends
      env: { UP: {} }
      upstreams:
        up: { url: "${ $env.UP }" }
        here: { url: "mapping:ends-inside" }
      errors: { body: { failed: "${ kind }" } }
      routes:
        GET /sse/{name}:
          call: GET up /${ $request.params.name }
          respond:
            stream_when: true
            pipeline:
              - from: { sse: { done: "[DONE]" } }
              - to: { sse: { done: "[DONE]" } }
                rules: [ { emit: "${ if(n == `13`, fail('upstream_error', 'thirteen'), @) }" } ]
        GET /lines/{name}:
          call: GET up /${ $request.params.name }
          respond: { stream_when: true, pipeline: [{ to: ndjson, rules: [ { emit: "${ @ }" } ] }] }
        GET /own/{name}:
          call: GET up /${ $request.params.name }
          respond:
            stream_when: true
            pipeline:
              - from: sse
              - to: sse
                rules: [ { emit: "${ @ }" } ]
                error: [ { emit: { first: "${ kind }" } }, { emit: { second: true } } ]
        GET /silent/{name}:
          call: GET up /${ $request.params.name }
          respond:
            stream_when: true
            pipeline: [{ to: sse, rules: [ { emit: "${ @ }" } ], error: [ { set: {} } ] }]
        GET /broken-rules/{name}:
          call: GET up /${ $request.params.name }
          respond:
            stream_when: true
            pipeline:
              - from: sse
              - to: sse
                rules: [ { emit: "${ @ }" } ]
                error: [ { emit: "${ abs(message) }" } ]
        GET /unnamed/{name}:
          call: GET up /${ $request.params.name }
          respond:
            stream_when: true
            pipeline:
              - from: sse
              - to: { sse: { event: "${ if(second, fail('internal', 'no name'), 'part') }" } }
                rules: [ { emit: "${ @ }" } ]
                error: [ { emit: { first: true } }, { emit: { second: true } }, { emit: { third: true } } ]
        GET /through/{name}: { forward: "here /sse/${ $request.params.name }" }
        GET /bytes/{name}: { forward: "up /${ $request.params.name }" }
        GET /none: { respond: { status: 204 } }
        GET /unchanged: { respond: { status: 304, headers: { etag: '"a"' } } }
    """,
    "text.yaml": """
      dragoman: 1
      name: text
      prefix: /text
      env: { UP: {} }
      upstreams: { up: { url: "${ $env.UP }" } }
      errors: { headers: { content-type: text/plain }, body: "failed: ${ kind }" }
      routes:
        GET /sse/{name}:
          call: GET up /${ $request.params.name }
          respond: { stream_when: true, pipeline: [{ to: sse, rules: [ { emit: "${ @ }" } ] }] }
    """,
    "inside.yaml": """
      dragoman: 1
      name: ends-inside
      prefix: /inside
      env: { UP: {} }
      upstreams: { up: { url: "${ $env.UP }" } }
      errors: { body: { inner: "${ kind }" } }
      routes:
        GET /sse/{name}:
          call: GET up /${ $request.params.name }
          respond:
            stream_when: true
            pipeline: [{ to: { sse: { done: "[DONE]" } }, rules: [ { emit: "${ @ }" } ] }]
    """,
}

#: How an upstream's stream fails after its first event.
FAILURES: dict[str, Behaviour] = {
    "closes": raw(STARTED + FIRST, "close"),
    "resets": raw(STARTED + FIRST, "reset"),
    "half": raw(STARTED + FIRST + b"7\r\ndata: {\r\n", "close"),
    "no-json": raw(STARTED + FIRST + b"d\r\ndata: <html>\n\r\n1\r\n\n\r\n", "hang"),
    "short": raw(
        head(200, [("content-type", SSE), ("content-length", "99")]) + b'data: {"n":1}\n\n', "close"
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Upstream() as upstream, dragoman_server(MAPPINGS, {"UP": upstream.url}) as running:
        for name, behaviour in FAILURES.items():
            upstream.on(f"/{name}", behaviour)
        upstream.on(
            "/thirteen", complete_response(200, b'data: {"n":1}\n\ndata: {"n":13}\n\ndata: {"n":2}\n\n', SSE)
        )
        upstream.on("/whole", complete_response(200, b'data: {"n":1}\n\ndata: [DONE]\n\n', SSE))
        upstream.on("/plain", complete_response(200, b'data: {"n":1}\n\n', SSE))
        yield running


def wire_body(
    server: Server, path: str, version: str = "1.1", fields: str = "connection: close\r\n"
) -> bytes:
    """Returns the body of a response as sent on the wire."""
    data = server.raw(f"GET {path} HTTP/{version}\r\nhost: x\r\n{fields}\r\n".encode())
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    assert (b"transfer-encoding: chunked" in head) is (version == "1.1")
    return body


def dechunked(body: bytes) -> tuple[bytes, bool]:
    """Returns the decoded chunks and whether the last chunk is present; nothing may follow it."""
    data = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert body == b"\r\n"
            return data, True
        data, body = data + body[:length], body[length + 2 :]
    return data, False


@pytest.mark.parametrize("name", FAILURES)
def test_the_last_chunk_follows_the_error_event(server: Server, name: str) -> None:
    body = wire_body(server, f"/sse/{name}")
    event = b'data: {"failed":"upstream_error"}\n\n'
    assert body.endswith(event + b"\r\n0\r\n\r\n"), body
    assert dechunked(body) == (b'data: {"n":1}\n\n' + event, True)
    assert dechunked(wire_body(server, f"/lines/{name}")) == (b'{"n":1}\n{"failed":"upstream_error"}\n', True)


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize(
    ("kind", "events"),
    [
        ("own", b'data: {"first":"upstream_error"}\n\ndata: {"second":true}\n\n'),
        ("broken-rules", b'data: {"failed":"upstream_error"}\n\n'),
        ("text/sse", b'data: "failed: upstream_error"\n\n'),
        ("through", b'data: {"inner":"upstream_error"}\n\n'),
    ],
)
def test_every_way_to_report_an_error_in_band(server: Server, kind: str, name: str, events: bytes) -> None:
    assert dechunked(wire_body(server, f"/{kind}/{name}")) == (b'data: {"n":1}\n\n' + events, True)


def test_error_events_without_a_name(server: Server) -> None:
    data, is_regular = dechunked(wire_body(server, "/unnamed/closes"))
    assert is_regular
    assert data == (
        b'event: part\ndata: {"n":1}\n\nevent: part\ndata: {"first":true}\n\n'
        b'data: {"second":true}\n\ndata: {"third":true}\n\n'
    )


@pytest.mark.parametrize("path", ["/silent/closes", "/bytes/closes", "/bytes/half", "/bytes/short"])
def test_the_connection_is_closed_if_nothing_can_be_written(server: Server, path: str) -> None:
    with server.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        data = b""
        while piece := connection.recv(65_536):
            data += piece
    assert b'data: {"n":1}' in data
    assert not data.endswith(b"0\r\n\r\n")
    assert b"failed" not in data


def test_a_mapping_that_fails_ends_regularly(server: Server) -> None:
    data, is_regular = dechunked(wire_body(server, "/sse/thirteen"))
    assert data == b'data: {"n":1}\n\ndata: {"failed":"upstream_error"}\n\n'
    assert is_regular


def test_a_connection_survives_a_failed_stream(server: Server) -> None:
    """The end is regular, so the next request on the connection is served."""
    with server.connect() as connection:
        connection.sendall(b"GET /sse/closes HTTP/1.1\r\nhost: x\r\n\r\n")
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += connection.recv(65_536)
        connection.sendall(b"GET /none HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 204 ")


def test_a_successful_stream_has_its_end_marker(server: Server) -> None:
    assert dechunked(wire_body(server, "/sse/whole")) == (b'data: {"n":1}\n\ndata: [DONE]\n\n', True)
    assert dechunked(wire_body(server, "/through/plain")) == (b'data: {"n":1}\n\ndata: [DONE]\n\n', True)


@pytest.mark.parametrize("fields", ["", "connection: keep-alive\r\n"])
def test_http_1_0_reads_to_the_end_of_the_connection(server: Server, fields: str) -> None:
    assert wire_body(server, "/sse/whole", "1.0", fields) == b'data: {"n":1}\n\ndata: [DONE]\n\n'
    failed = b'data: {"n":1}\n\ndata: {"failed":"upstream_error"}\n\n'
    assert wire_body(server, "/sse/closes", "1.0", fields) == failed


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/sse/whole", 200),
        ("HEAD", "/sse/closes", 200),
        ("HEAD", "/sse/thirteen", 200),
        ("HEAD", "/through/closes", 200),
        ("GET", "/none", 204),
        ("GET", "/unchanged", 304),
    ],
)
def test_a_response_without_a_body_ends_with_its_head(
    server: Server, method: str, path: str, status: int
) -> None:
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            data = connection.recv(65_536)
            assert data.startswith(b"HTTP/1.1 %d " % status)
            assert data.endswith(b"\r\n\r\n")
            assert data.count(b"\r\n\r\n") == 1
        connection.sendall(b"GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        last = connection.recv(65_536)
        assert last.startswith(b"HTTP/1.1 404 ")
        assert json.loads(last.partition(b"\r\n\r\n")[2]) == {"failed": "not_found"}
