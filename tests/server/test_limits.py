"""The limits of an exchange on real connections: the response and the log line."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.upstream import Upstream, complete_response

MAPPING = """\
dragoman: 1
name: limited
limits: { steps: 200000, bytes: 2000000 }
upstreams: { up: { url: "${ $env.UP }" } }
env: { UP: {} }
routes:
  POST /nested:
    respond:
      body:
        $each: ${ a }
        rest: ${ $request.body.a[?@ > `0`] }
  POST /padded:
    respond: { body: { $each: "${ a }", v: "${ pad_left('x', @) }" } }
  POST /head:
    respond:
      headers: { $spread: "${ from_items(names[*].[@, $request.body.value]) }" }
      body: ok
  POST /response:
    call: POST up /many
    respond:
      body: "${ map(&length($upstream.body.a[*]), a) }"
  POST /stream:
    call: POST up /events
    respond:
      stream_when: true
      pipeline:
        - to: sse
          state: { all: [] }
          rules:
            - { set: { all: "${ [$state.all, v][] }" }, emit: { v: "${ v }" } }
  POST /merge:
    call: POST up /tiny
    respond: { pipeline: [ { merge: { all: append }, rules: [ { emit: { all: ["${ v }"] } } ] }, count ] }
templates: { count: { count: "${ length(all) }" } }
"""
STEPS = "the limit of 200000 loop steps is exceeded (limits.steps)"
BYTES = "the limit of 2000000 bytes is exceeded (limits.bytes)"


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, env={"UP": upstream.url}) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "body", "message", "line"),
    [
        ("/nested", {"a": [1] * 2000}, STEPS, "11:"),
        ("/padded", {"a": [1_000_000] * 20}, BYTES, "13:"),
        (
            "/head",
            {"names": [f"x-{n}" for n in range(3000)], "value": "v" * 600},
            "its header fields exceed 65536 bytes",
            "16:",
        ),
    ],
)
def test_a_limit_is_an_error_response_and_a_log_line(
    server: Server, path: str, body: object, message: str, line: str
) -> None:
    request_id = f"limits{path.replace('/', '-')}"
    response = server.post(path, body, headers={"x-request-id": request_id})
    assert response.status == 400
    assert response.json["error"]["type"] == "invalid_request"
    assert response.json["error"]["message"] == f"the request cannot be translated: {message}"
    logged = server.logged(request_id)
    assert logged["error_kind"] == "invalid_request"
    assert f".yaml:{line}" in logged["cause"]
    assert logged["cause"].endswith(message)


def test_a_limit_exceeded_by_upstream_data_is_an_upstream_error(server: Server, upstream: Upstream) -> None:
    upstream.on("/many", complete_response(200, json.dumps({"a": [1] * 2000}).encode()))
    response = server.post("/response", {}, headers={"x-request-id": "limits-response"})
    assert response.status == 502
    assert response.json["error"]["type"] == "upstream_error"
    assert response.json["error"]["message"] == f"the upstream's response cannot be translated: {STEPS}"
    logged = server.logged("limits-response")
    assert ".yaml:21:" in logged["cause"]


def test_a_limit_in_a_stream_is_an_in_band_error(server: Server, upstream: Upstream) -> None:
    event = b'data: {"v":"' + b"a" * 10_000 + b'"}\n\n'
    upstream.on("/events", complete_response(200, event * 300, "text/event-stream"))
    try:
        body = server.post("/stream", {}, headers={"x-request-id": "limits-stream"}).body
    except http.client.IncompleteRead as error:
        body = error.partial
    *events, last, _ = body.split(b"\n\n")
    assert len(events) == 199
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert error["type"] == "upstream_error"
    assert error["message"].endswith(BYTES)
    assert ".yaml:30:" in server.logged("limits-stream")["cause"]


def test_fifty_thousand_tiny_events_can_be_merged(server: Server, upstream: Upstream) -> None:
    upstream.on("/tiny", complete_response(200, b'data: {"v":1}\n\n' * 50_000, "text/event-stream"))
    assert server.post("/merge", {}).json == {"count": 50_000}
