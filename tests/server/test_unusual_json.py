"""JSON that few servers send and RFC 8259 allows: from upstreams and clients, in streams and in the log."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.upstream import Upstream, complete_response

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
errors: { body: { kind: "${ kind }", message: "${ message }", details: "${ details }" } }
routes:
  GET /whole/{name}: { call: "GET up /rare/${ $request.params.name }", respond: { body: "${ @ }" } }
  GET /wrapped/{name}:
    call: GET up /rare/${ $request.params.name }
    respond: { body: { a: ["${ @ }"] } }
  GET /text/{name}: { call: "GET up /rare/${ $request.params.name }", respond: { body: "<${ n }>" } }
  GET /stream/{to}/{name}:
    call: GET up /rare/${ $request.params.name }
    respond:
      - when: ${ $request.params.to == 'sse' }
        stream_when: true
        pipeline: [{ from: sse }, { to: sse, rules: [ { emit: "${ @ }" } ] }]
      - stream_when: true
        pipeline: [{ from: sse }, { to: ndjson, rules: [ { emit: "${ @ }" } ] }]
  POST /dropped:
    call: { upstream: up, path: /echo, body: { a: "${ a }" } }
    respond: { body: "${ body }" }
  POST /refused:
    dropped: reject
    call: { upstream: up, path: /echo, body: { a: "${ a }" } }
    respond: { body: "${ body }" }
"""
DEEP = b"[" * 1024 + b"]" * 1024


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as running:
        yield running


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (b'\xef\xbb\xbf{"n":1}', b'{"n":1}'),
        (b'{"n":"\\uD83D"}', b'{"n":"\\ud83d"}'),
        (b'{"\\udc00":1e400}', b'{"\\udc00":1' + b"0" * 400 + b"}"),
        (DEEP, DEEP),
    ],
)
def test_an_upstreams_body_is_passed_on(server: Server, upstream: Upstream, sent: bytes, seen: bytes) -> None:
    upstream.on("/rare/one", complete_response(200, sent))
    response = server.get("/whole/one")
    assert (response.status, response.body) == (200, seen)


@pytest.mark.parametrize(
    ("path", "sent", "message"),
    [
        ("/whole", b'{"n": 1e5000}', "the upstream's response has a number out of range"),
        ("/whole", b"[" + DEEP + b"]", "the upstream's response is nested more than 1024 levels deep"),
        ("/wrapped", DEEP, "the response is nested more than 1024 levels deep"),
        ("/whole", b'{"n": NaN}', "the upstream's response is invalid JSON"),
        ("/whole", b'\xef\xbb\xbf\xef\xbb\xbf{"n": 1}', "the upstream's response is invalid JSON"),
    ],
)
def test_an_upstreams_body_beyond_a_limit(
    server: Server, upstream: Upstream, path: str, sent: bytes, message: str
) -> None:
    upstream.on("/rare/one", complete_response(200, sent))
    response = server.get(f"{path}/one")
    assert (response.status, response.json) == (502, {"kind": "upstream_error", "message": message})


def test_text_is_valid_utf_8(server: Server, upstream: Upstream) -> None:
    upstream.on("/rare/one", complete_response(200, b'{"n": "\\ud800"}'))
    assert server.get("/text/one").body == b"<?>"


@pytest.mark.parametrize(("to", "before", "after"), [("sse", b"data: ", b"\n\n"), ("ndjson", b"", b"\n")])
def test_events(server: Server, upstream: Upstream, to: str, before: bytes, after: bytes) -> None:
    """An emoji whose surrogates are in two events stays two surrogates; each is JSON."""
    events = b'data: "\\ud83d"\n\ndata: "\\ude00"\n\ndata: 1e400\n\n'
    upstream.on("/rare/one", complete_response(200, events, "text/event-stream"))
    response = server.get(f"/stream/{to}/one")
    written = [b'"\\ud83d"', b'"\\ude00"', b"1" + b"0" * 400]
    assert response.body == b"".join(before + event + after for event in written)


def dropped(server: Server, path: str) -> tuple[Any, dict[str, Any]]:
    request_id = uuid.uuid4().hex
    response = server.post(path, b'{"a":1,"\\ud800x":2}', headers={"x-request-id": request_id})
    return response, server.logged(request_id)


def test_the_name_of_a_dropped_field_is_logged(server: Server) -> None:
    response, line = dropped(server, "/dropped")
    assert (response.status, response.header("x-dragoman-dropped")) == (200, "?x")
    assert line["dropped_fields"] == ["\ud800x"]
    response, line = dropped(server, "/refused")
    assert (response.status, response.json["details"]) == (400, {"unsupported": ["\ud800x"]})
    assert line["dropped_fields"] == ["\ud800x"]
