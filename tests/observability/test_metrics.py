"""Metrics of the server: values and names, and that no label is a value of a request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.server import Server, dragoman_server, reset
from tests.support.upstream import Upstream, complete_response, eventually, json_response

MAPPING = """
dragoman: 1
name: shop
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  POST /chat/{name}:
    usage: { input: "${ usage.in }", output: "${ usage.out }" }
    call: POST up /m/${ $request.params.name }
    respond:
      - when: ${ $request.query.stream == 'yes' }
        stream_when: true
        pipeline:
          - { to: sse, rules: [{ emit: "${ @ }" }] }
      - when: ${ $request.query.merge == 'yes' }
        pipeline: [all]
      - body: { ok: true }
  GET /hang: { call: GET up /hang, respond: { body: x } }
  GET /metrics: { builtin: metrics }
templates: { all: { all: true } }
"""
EVENTS = b'data: {"n": 1}\n\ndata: {"n": 2, "usage": {"in": 5, "out": 7}}\n\n'


@pytest.fixture
def server(upstream: Upstream) -> Iterator[Server]:
    upstream.on("/m/whole", json_response({"usage": {"in": 3, "out": 4}}))
    upstream.on("/m/odd", json_response({"usage": {"in": "many", "out": -1}}))
    upstream.on("/m/none", json_response({}))
    upstream.on("/m/sse", complete_response(200, EVENTS, "text/event-stream"))
    with dragoman_server(MAPPING, {"UP": upstream.url}) as running:
        yield running


Samples = dict[str, list[tuple[dict[str, str], float]]]


def samples(text: str) -> Samples:
    """Returns the samples of an exposition by name, read by Prometheus's own parser."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def metrics(server: Server) -> Samples:
    return samples(server.get("/metrics").text)


def value(server: Server, name: str, **labels: Any) -> float:
    """Returns the sum of the samples with these labels."""
    return sum(number for have, number in metrics(server).get(name, ()) if labels.items() <= have.items())


def tokens(server: Server) -> tuple[float, float]:
    name = "gen_ai_client_token_usage_sum"
    route = {"mapping": "shop", "http_route": "/chat/{name}"}
    return tuple(value(server, name, **route, gen_ai_token_type=what) for what in ("input", "output"))  # type: ignore[return-value]


def test_tokens(server: Server) -> None:
    assert server.post("/chat/whole", {}).status == 200
    assert tokens(server) == (3, 4)
    for name in ("odd", "none", "status/500"):
        server.post(f"/chat/{name}", {})
    assert tokens(server) == (3, 4)
    assert server.post("/chat/sse?stream=yes", {}).text.count("data:") == 2
    assert eventually(lambda: tokens(server) == (8, 11))
    assert server.post("/chat/sse?merge=yes", {}).json == {"all": True}
    assert tokens(server) == (13, 18)
    assert value(server, "gen_ai_client_token_usage_count", gen_ai_token_type="input") == 3


def test_streams_calls_and_errors(server: Server, upstream: Upstream) -> None:
    server.post("/chat/sse?stream=yes", {})
    server.post("/chat/whole", {})
    server.post("/chat/reset", {})
    client = server.connect()
    client.sendall(b"GET /hang HTTP/1.1\r\nhost: x\r\nx-request-id: m-1\r\n\r\n")
    assert upstream.eventually(lambda up: up.seen("m-1"))
    assert value(server, "http_server_active_requests") == 2
    reset(client)
    assert eventually(lambda: value(server, "dragoman_errors_total", kind="client_disconnected") == 1)
    route = {"mapping": "shop", "http_route": "/chat/{name}"}
    assert value(server, "dragoman_stream_events_total", **route) == 2
    assert value(server, "dragoman_time_to_first_event_seconds_count", **route) == 1
    assert value(server, "http_server_request_duration_seconds_count", http_response_status_code="499") == 1
    assert value(server, "http_server_request_duration_seconds_count", http_response_status_code="200") > 1
    assert value(server, "dragoman_plan_generation") == 1
    calls = {"mapping": "shop", "upstream": "up"}
    assert value(server, "http_client_request_duration_seconds_count", **calls, outcome="200") == 2


def test_labels_are_names_of_mappings(server: Server) -> None:
    server.post(
        "/chat/secret-name?secret-query=1", {"x": "secret-body"}, headers={"x-secret": "secret-value"}
    )
    server.request("SECRETMETHOD", "/secret-path")
    assert "secret" not in server.get("/metrics").text.lower()
