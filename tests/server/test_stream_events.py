"""Events of an upstream that are empty, not JSON, too large or undecodable: each has its own message."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Iterator

import pytest

from engine.codecs import MAX_EVENT_BYTES
from tests.support.server import Response, Server, dragoman_server
from tests.support.upstream import Behaviour, Upstream, complete_response, head, raw

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
errors: { body: { kind: "${ kind }", message: "${ message }" } }
templates: { all: "${ all }" }
routes:
  GET /stream/{name}:
    call: GET up /${ $request.params.name }
    respond:
      stream_when: true
      pipeline:
        - { from: { sse: { done: "[DONE]" } }, eof: ok }
        - { to: ndjson, rules: [ { emit: "${ @ }" } ] }
  GET /merged/{name}:
    call: GET up /${ $request.params.name }
    respond:
      pipeline:
        - from: { sse: { done: "[DONE]" } }
          eof: ok
          merge: { all: append }
          rules: [ { emit: { all: ["${ @ }"] } } ]
        - all
"""
SSE, NDJSON = "text/event-stream", "application/x-ndjson"
GIVEN = f"an event larger than {MAX_EVENT_BYTES} bytes"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as running:
        yield running


def send(server: Server, upstream: Upstream, path: str, behaviour: Behaviour) -> tuple[Response, str | None]:
    """Returns the response and the cause in the log."""
    name = uuid.uuid4().hex
    upstream.on(f"/{name}", behaviour)
    response = server.get(f"/{path}/{name}", headers={"x-request-id": name})
    return response, server.logged(name).get("cause")


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (
            SSE,
            b'data:\n\ndata: {"n":1}\n\ndata\n\ndata: \n\ndata:  \n\ndata: {"n":2}\n\ndata\ndata\n\n',
        ),
        (SSE, b'event: ping\ndata:\n\ndata: {"n":1}\n\n: c\n\ndata: {"n":2}\n\ndata:\n\ndata: [DONE]\n\n'),
        (NDJSON, b'\n{"n":1}\n\r\n \t\n{"n":2}\n\n'),
    ],
)
def test_empty_data_is_skipped(server: Server, upstream: Upstream, media_type: str, body: bytes) -> None:
    for pieces in ([body], [bytes([byte]) for byte in body]):
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        started = head(200, [("content-type", media_type), ("transfer-encoding", "chunked")])
        response, cause = send(server, upstream, "stream", raw(started + chunks))
        assert (response.status, response.text, cause) == (200, '{"n":1}\n{"n":2}\n', None)
        assert send(server, upstream, "merged", raw(started + chunks))[0].json == [{"n": 1}, {"n": 2}]


FAILURES: dict[str, tuple[Behaviour, str, str]] = {
    "HTML": (
        complete_response(200, b"data: <html>\n\n", SSE),
        "sent an event that is not JSON (event 1)",
        "event 1: invalid JSON, line 1 column 1",
    ),
    "half an object": (
        complete_response(200, b'data: {"n":1}\n\ndata:\n\ndata: {"n":2}\n\ndata: {"n":\n\n', SSE),
        "sent an event that is not JSON (event 3)",
        "event 3: invalid JSON, line 1 column 6",
    ),
    "a line that is not JSON": (
        complete_response(200, b'{"n":1}\n\noops\n', NDJSON),
        "sent an event that is not JSON (event 2)",
        "event 2: invalid JSON, line 1 column 1",
    ),
    "a last line that is not whole": (
        complete_response(200, b'{"n":1}\n{"n"', NDJSON),
        "sent an event that is not JSON (event 2)",
        "event 2: invalid JSON, line 1 column 5",
    ),
    "another end marker": (
        complete_response(200, b'data: {"n":1}\n\ndata: done\n\n', SSE),
        "sent an event that is not JSON (event 2)",
        "event 2: invalid JSON, line 1 column 1",
    ),
    "a large event": (
        complete_response(200, b'data: {"n":1}\n\ndata: "' + b"x" * MAX_EVENT_BYTES + b'"\n\n', SSE),
        f"sent {GIVEN}",
        f"event 2: {GIVEN}",
    ),
    "a large line": (
        complete_response(200, b'{"n":1}\n"' + b"x" * MAX_EVENT_BYTES + b'"\n', NDJSON),
        f"sent {GIVEN}",
        f"event 2: {GIVEN}",
    ),
    "no event": (complete_response(200, b": comment\n\n", SSE), "sent a stream without events", "no events"),
    "an unknown coding": (
        complete_response(200, b"\x0b\x02\x80", SSE, [("content-encoding", "br")]),
        "sent a body with an unsupported content coding",
        "content-encoding: br",
    ),
    "two codings": (
        complete_response(200, b"x", SSE, [("content-encoding", "gzip, gzip")]),
        "sent a body with an unsupported content coding",
        "content-encoding: gzip,gzip",
    ),
    "not in its coding": (
        complete_response(200, b'data: {"n":1}\n\n', SSE, [("content-encoding", "gzip")]),
        "sent a body that does not match its content coding",
        "the body does not match its content coding",
    ),
    "a coding that is truncated": (
        complete_response(200, gzip.compress(b'data: {"n":1}\n\n')[:-8], SSE, [("content-encoding", "gzip")]),
        "sent a body that does not match its content coding",
        "the coded body is truncated",
    ),
    "a connection that is closed": (
        raw(head(200, [("content-type", SSE), ("content-length", "99")]) + b'data: {"n":1}\n\n', "close"),
        "disconnected or sent an invalid HTTP response",
        "closed before the end of the response",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_each_error_has_its_message_and_cause(server: Server, upstream: Upstream, name: str) -> None:
    behaviour, what, cause = FAILURES[name]
    expected = {"kind": "upstream_error", "message": f"the upstream 'up' {what}"}
    for path in ("stream", "merged"):
        response, found = send(server, upstream, path, behaviour)
        assert found == cause
        if response.status == 200:
            assert path == "stream"
            response = Response(502, [], response.body.splitlines()[-1], 0.0)
        assert (response.status, response.json) == (502, expected)
