"""Translated bodies are limited to 16 MiB or `max_bytes`; forwarded bodies are not limited."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.upstream import Behaviour, Upstream, complete_response, drip, head, json_response, raw

MIB = 1024 * 1024
DEFAULT = 16 * MIB

MAPPING = """
dragoman: 1
name: outer
env: { UP: {} }
upstreams:
  up: { url: "${ $env.UP }/up" }
  again: { url: "${ $env.UP }/up", retry: { attempts: 2, on: [503, broken] } }
  inner: { url: "mapping:inner" }
errors: { body: { kind: "${ kind }", message: "${ message }", upstream: "${ upstream.name }" } }
templates: { n: "${ n }" }
routes:
  GET /default/{name}:
    call: GET up /${ $request.params.name }
    respond: { body: "${ length(to_json(@)) }" }
  POST /default: { respond: { body: "${ length(to_json(@)) }" } }
  GET /small/{name}:
    call: { upstream: up, path: "/${ $request.params.name }", max_bytes: 1000 }
    respond: { body: "${ @ }" }
  GET /again/{name}:
    call: { upstream: again, path: "/${ $request.params.name }", max_bytes: 1000 }
    respond: { body: "${ @ }" }
  GET /stream/{name}:
    call: { upstream: up, path: "/${ $request.params.name }", max_bytes: 1000 }
    respond: { stream_when: true, pipeline: [{ to: ndjson, rules: [{ emit: "${ @ }" }] }] }
  GET /merge/{name}:
    call: { upstream: up, path: "/${ $request.params.name }", max_bytes: 1000 }
    respond: { pipeline: [n] }
  GET /several/{name}:
    calls:
      one: { upstream: up, path: "/${ $request.params.name }", max_bytes: 1000, on_error: continue }
      two: { upstream: up, path: "/${ $request.params.name }" }
    respond: { body: ["${ $calls.one.error.message }", "${ length(text) }"] }
  GET /try/{name}:
    try:
      - call: { upstream: up, path: "/${ $request.params.name }", max_bytes: 1000 }
        respond: { body: small }
      - call: { upstream: up, path: "/${ $request.params.name }", max_bytes: 5000 }
        respond: { body: large }
  GET /inner/{path:path}:
    call: { upstream: inner, path: "/${ $request.params.path }", max_bytes: 1000 }
    respond: { body: "${ @ }" }
  GET /inner-merge:
    call: { upstream: inner, path: /stream/events, max_bytes: 1000 }
    respond: { pipeline: [n] }
  POST /upload: { forward: up /counted }
  POST /upload/small: { forward: up /counted, request: { max_bytes: 1000 } }
  POST /upload/read/{name}: { forward: "up /${ a }" }
  POST /upload/inner/{path:path}: { forward: "inner /${ $request.params.path }" }
  GET /download/{name}: { forward: "up /${ $request.params.name }" }
  GET /download/inner/{path:path}: { forward: "inner /${ $request.params.path }" }
"""
INNER = """
dragoman: 1
name: inner
prefix: /inside
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }/up" } }
errors: { body: { kind: "${ kind }", message: "${ message }" } }
routes:
  GET /json/{name}: { call: "GET up /${ $request.params.name }", respond: { body: "${ @ }" } }
  GET /bytes/{name}: { forward: "up /${ $request.params.name }" }
  GET /stream/{name}:
    call: "GET up /${ $request.params.name }"
    respond: { stream_when: true, pipeline: [{ from: sse }, { to: sse, rules: [{ emit: "${ @ }" }] }] }
  POST /read: { request: { max_bytes: 1000 }, respond: { body: "${ n }" } }
  POST /passed: { request: { max_bytes: 1000 }, forward: up /counted }
  POST /free: { forward: up /counted }
"""


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _text(size: int) -> bytes:
    """Returns a JSON object of this many bytes."""
    return b'{"text":"' + b"x" * (size - 11) + b'"}'


_JSON = ("content-type", "application/json")
_CHUNKED = ("transfer-encoding", "chunked")
_EVENT = b'data: {"n":1,"text":"' + b"x" * 75 + b'"}\n\n'

BEHAVIOURS: dict[str, Behaviour] = {
    "exact": complete_response(200, _text(1000)),
    "more": complete_response(200, _text(1001)),
    "unannounced": raw(
        head(200, [_JSON, _CHUNKED]) + chunk(_text(500)[:-1]) + chunk(b" " * 501) + chunk(b"}")
    ),
    "to-the-end": raw(head(200, [_JSON]) + _text(1001), "close"),
    "announced": raw(head(200, [_JSON, ("content-length", "1001")]) + b" ", "hang"),
    "endless": drip(head(200, [_JSON, _CHUNKED]), chunk(b" " * 100), 0),
    "gzip": complete_response(200, gzip.compress(_text(1001)), headers=[("content-encoding", "gzip")]),
    "gzip-exact": complete_response(200, gzip.compress(_text(1000)), headers=[("content-encoding", "gzip")]),
    "not-found": complete_response(404, _text(1001)),
    "busy": complete_response(503, _text(1001)),
    "events": complete_response(200, _EVENT * 11, "text/event-stream"),
    "ten-events": complete_response(200, _EVENT * 10, "text/event-stream"),
    "default": complete_response(200, _text(DEFAULT)),
    "default-more": complete_response(200, _text(DEFAULT + 1)),
    "large": complete_response(200, _text(20 * MIB)),
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        for name, behaviour in BEHAVIOURS.items():
            running.on(f"/up/{name}", behaviour)
        running.on("/up/counted", json_response({"ok": True}))
        yield running


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    mappings = {"outer.yaml": MAPPING, "inner.yaml": INNER}
    with dragoman_server(mappings, {"UP": upstream.url}) as running:
        yield running


def _message(limit: int, name: str = "up") -> str:
    return f"the upstream '{name}' sent a response that is too large: over {limit} bytes"


# --- Responses -------------------------------------------------------------------------------------------


def test_the_default_is_16_mib(server: Server) -> None:
    assert len(_text(DEFAULT)) == DEFAULT
    assert server.get("/default/default").json == DEFAULT
    response = server.get("/default/default-more")
    assert response.status == 502
    assert response.json == {"kind": "upstream_error", "message": _message(DEFAULT), "upstream": "up"}


@pytest.mark.parametrize("name", ["exact", "gzip-exact"])
def test_a_response_at_the_limit_is_accepted(server: Server, name: str) -> None:
    assert server.get(f"/small/{name}").body == _text(1000)


@pytest.mark.parametrize(
    "path",
    [
        *("small/more", "small/unannounced", "small/to-the-end", "small/announced", "small/endless"),
        *("small/gzip", "small/not-found", "small/busy"),
        *("stream/more", "stream/unannounced", "stream/announced", "stream/gzip"),
        *("merge/events", "merge/more"),
    ],
)
def test_a_larger_response_is_an_upstream_error(server: Server, upstream: Upstream, path: str) -> None:
    response = server.get(f"/{path}", headers={"x-request-id": path.replace("/", ".")})
    assert response.status == 502
    assert response.json == {"kind": "upstream_error", "message": _message(1000), "upstream": "up"}
    if not path.endswith(("more", "not-found", "busy", "gzip", "events")):
        (seen,) = upstream.seen(path.replace("/", "."))
        assert upstream.eventually(lambda up: up.connections[seen.connection].closed is not None)


def test_a_too_large_response_is_not_retried(server: Server, upstream: Upstream) -> None:
    assert server.get("/again/unannounced", headers={"x-request-id": "once"}).status == 502
    assert len(upstream.seen("once")) == 1


def test_the_total_size_of_a_stream_is_not_limited(server: Server) -> None:
    response = server.get("/stream/events")
    assert (response.status, response.text.count("\n")) == (200, 11)
    assert server.get("/merge/ten-events").json == 1


def test_each_call_has_its_own_limit(server: Server) -> None:
    message = f"the call 'one': {_message(1000)}"
    assert server.get("/several/more").json[0] in (message, _message(1000))
    assert server.get("/several/more").json[1] == 990
    response = server.get("/try/more")
    assert (response.status, response.text) == (200, "large")
    assert response.header("x-dragoman-upstream") == "up;failed=upstream_error, up;status=200"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("inner/json/more", "inner"),
        ("inner/bytes/more", "inner"),
        ("inner/bytes/unannounced", "up"),
        ("inner/stream/events", "inner"),
        ("inner-merge", "inner"),
    ],
)
def test_a_response_of_another_mapping_is_limited_too(server: Server, path: str, name: str) -> None:
    response = server.get(f"/{path}")
    assert (response.status, response.json["message"]) == (502, _message(1000, name))


def test_a_response_of_another_mapping_within_the_limit(server: Server) -> None:
    assert server.get("/inner/json/exact").body == _text(1000)
    assert server.get("/inner/bytes/exact").body == _text(1000)


@pytest.mark.parametrize("path", ["/download/large", "/download/inner/bytes/large"])
def test_a_forwarded_response_is_not_limited(server: Server, path: str) -> None:
    assert len(server.get(path).body) == 20 * MIB


# --- Requests --------------------------------------------------------------------------------------------


def _refused(limit: int) -> tuple[int, str]:
    return 413, f"the body is larger than {limit} bytes"


def _post(server: Server, path: str, size: int, is_chunked: bool = False) -> tuple[int, str]:
    body, headers = json.dumps({"a": "x" * (size - 9)}).encode(), {"content-type": "application/json"}
    assert len(body) == size
    if is_chunked:
        body, headers = chunk(body) + b"0\r\n\r\n", {**headers, "transfer-encoding": "chunked"}
    response = server.post(path, body, headers=headers)
    return response.status, response.json["message"] if response.status != 200 else ""


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_read_body_is_limited_to_16_mib(server: Server, is_chunked: bool) -> None:
    assert _post(server, "/default", DEFAULT, is_chunked) == (200, "")
    assert _post(server, "/default", DEFAULT + 1, is_chunked) == _refused(DEFAULT)
    assert _post(server, "/upload/read/x", DEFAULT + 1, is_chunked) == _refused(DEFAULT)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_forwarded_body_has_the_configured_limit(
    server: Server, upstream: Upstream, is_chunked: bool
) -> None:
    assert _post(server, "/upload", 20 * MIB, is_chunked) == (200, "")
    assert len(upstream.requests[-1].body) == 20 * MIB
    assert _post(server, "/upload/inner/free", 20 * MIB, is_chunked) == (200, "")
    assert len(upstream.requests[-1].body) == 20 * MIB
    for path in ("/upload/small", "/upload/inner/read", "/upload/inner/passed"):
        assert _post(server, path, 1000, is_chunked) == (200, "")
        assert _post(server, path, 1001, is_chunked) == _refused(1000)
