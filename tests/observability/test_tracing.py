"""Traces: related spans sent to a receiver over OTLP, and context propagation without an exporter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from engine.observability import tracing
from tests.support.receiver import Receiver
from tests.support.server import Server, dragoman_server
from tests.support.upstream import Behaviour, Channel, Seen, Upstream, drip, eventually, head

MAPPING = """
dragoman: 1
name: shop
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  POST /call/{name}:
    call: { upstream: up, method: POST, path: "/${ $request.params.name }" }
    respond: { body: "${ @ }" }
  GET /stream: { respond: { stream: { to: sse, every: 50ms, emit: [1, 2, 3] } } }
  GET /translated/traced:
    call: GET up /traced
    respond:
      stream_when: true
      pipeline:
        - from: { sse: { done: "[DONE]" } }
        - to: { sse: { done: "[DONE]" } }
          rules: [{ emit: { n: "${ n }" } }]
  GET /forward/{name:path}: { forward: "up /${ $request.params.name }" }
  GET /through/{name:path}: { forward: "up /${ $request.params.name }" }
"""
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def attributes(span: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in span.attributes}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


@pytest.fixture
def traced(upstream: Upstream, receiver: Receiver) -> Iterator[Server]:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with dragoman_server(MAPPING, {"UP": upstream.url, **env}) as running:
        yield running


def test_spans_are_related(traced: Server, receiver: Receiver, upstream: Upstream) -> None:
    headers = {"traceparent": PARENT, "tracestate": "vendor=1", "x-request-id": "trace-1"}
    response = traced.post("/call/json?secret=1", {"n": "secret"}, headers={**headers, "cookie": "secret"})
    assert response.status == 200
    assert eventually(lambda: receiver.of("POST /call/{name}") and receiver.of("POST"))
    server, client = receiver.of("POST /call/{name}"), receiver.of("POST")
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, SPAN)
    assert (client.trace_id.hex(), client.parent_span_id) == (TRACE, server.span_id)
    seen = upstream.seen("trace-1")[0]
    assert seen.header("traceparent") == f"00-{TRACE}-{client.span_id.hex()}-01"
    assert seen.header("tracestate") == "vendor=1"
    assert attributes(server) == {
        "http.request.method": "POST",
        "url.path": "/call/json",
        "url.scheme": "http",
        "http.route": "/call/{name}",
        "dragoman.mapping": "shop",
        "http.response.status_code": 200,
    }
    assert attributes(client)["dragoman.upstream"] == "up"
    assert "secret" not in str(receiver.spans)


def test_errors_and_streams(traced: Server, receiver: Receiver) -> None:
    traced.post("/call/reset", {})
    assert eventually(lambda: receiver.of("POST /call/{name}") and receiver.of("POST"))
    for name, kind in (("POST /call/{name}", "upstream_error"), ("POST", "broken")):
        assert attributes(receiver.of(name))["error.type"] == kind
        assert receiver.of(name).status.code == 2
    traced.get("/stream")
    assert eventually(lambda: receiver.of("GET /stream"))
    span = receiver.of("GET /stream")
    assert [event.name for event in span.events] == ["first event", "end of stream"]
    assert span.start_time_unix_nano < span.events[0].time_unix_nano < span.end_time_unix_nano


SSE = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
CHUNK = b'f\r\ndata: {"n":1}\n\n\r\n'


async def _complete(channel: Channel, seen: Seen) -> None:
    await drip(head(200, SSE), CHUNK, 0.1, 8)(channel, seen)
    await channel.send(b"0\r\n\r\n")


async def _truncated(channel: Channel, seen: Seen) -> None:
    await drip(head(200, SSE), CHUNK, 0.1, 8)(channel, seen)
    channel.reset()


async def _end_marker_only(channel: Channel, seen: Seen) -> None:
    """Sends the end marker but never ends the body."""
    await drip(head(200, SSE), CHUNK, 0.1, 8)(channel, seen)
    await channel.send(b"e\r\ndata: [DONE]\n\n\r\n")
    await channel.hang()


def _has_stream(receiver: Receiver, name: str) -> bool:
    return eventually(lambda: receiver.of(name) and receiver.of("GET"))


STREAMS = [(way, behave) for way in ("translated", "forward") for behave in (_complete, _truncated)]


# Forwarded bytes have no end marker.
@pytest.mark.parametrize(("way", "behave"), [*STREAMS, ("translated", _end_marker_only)])
def test_the_call_span_ends_with_the_stream(
    traced: Server, receiver: Receiver, upstream: Upstream, way: str, behave: Behaviour
) -> None:
    upstream.on("/traced", behave)
    traced.get(f"/{way}/traced", expect_truncated=behave is _truncated and way == "forward")
    name = "GET /translated/traced" if way == "translated" else "GET /forward/{name:path}"
    assert _has_stream(receiver, name)
    server, client = receiver.of(name), receiver.of("GET")
    assert client.parent_span_id == server.span_id
    assert 0.6e9 < client.end_time_unix_nano - client.start_time_unix_nano < 30e9
    assert server.start_time_unix_nano <= client.start_time_unix_nano
    (begun,) = client.events
    assert begun.name == "response head"
    assert begun.time_unix_nano - client.start_time_unix_nano < 0.5 * (
        client.end_time_unix_nano - client.start_time_unix_nano
    )
    assert attributes(client).get("error.type") == ("broken" if behave is _truncated else None)
    assert len([span for span in receiver.spans if span.name == "GET"]) == 1, "it ends once"


def test_a_client_disconnect_ends_the_call_span(
    traced: Server, receiver: Receiver, upstream: Upstream
) -> None:
    """Before the response head, and in mid-stream."""
    upstream.on("/traced", drip(head(200, SSE), CHUNK, 0.05))
    for number, path in enumerate(("/call/hang", "/translated/traced"), 1):
        method = "POST" if path.startswith("/call") else "GET"
        with traced.connect() as connection:
            connection.sendall(f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())
            time.sleep(0.7)
        assert eventually(lambda number=number: len(receiver.spans) == 2 * number), receiver.spans
    kinds = [(span.name, attributes(span).get("error.type")) for span in receiver.spans]
    assert ("POST", "client_disconnected") in kinds
    assert "GET" in dict(kinds)


def test_the_context_is_propagated_without_spans(upstream: Upstream) -> None:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as server:
        for number, parent in enumerate(
            (PARENT, "00-" + "0" * 32 + f"-{SPAN}-01", "nonsense", PARENT.upper())
        ):
            headers = {"traceparent": parent, "tracestate": "v=1", "x-request-id": f"plain-{number}"}
            server.post("/call/json", {}, headers=headers)
            seen = upstream.seen(f"plain-{number}")[0]
            is_sound = parent == PARENT
            assert seen.header("traceparent") == (PARENT if is_sound else None)
            assert seen.header("tracestate") == ("v=1" if is_sound else None)
        headers = {"traceparent": PARENT, "x-request-id": "trace-through"}
        server.get("/through/json", headers=headers)
        assert [v for n, v in upstream.seen("trace-through")[0].headers if n == "traceparent"] == [PARENT]


def test_disabled_and_unsupported_exporters() -> None:
    assert tracing.start({}) is None
    assert tracing.start({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}) is None
    assert tracing.start({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}) is None
    assert "'otlp'" in (tracing.start({"OTEL_TRACES_EXPORTER": "zipkin"}) or "")


def test_a_missing_extra_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace.export", None)
    assert "dragoman[otel]" in (tracing.start({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}) or "")
