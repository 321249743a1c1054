"""An upstream's own error text: returned to the client in its error format, logged as the cause."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from engine.exchange.upstream_error_text import MAX_TEXT, error_text, log_text
from tests.support.server import Response, Server, dragoman_server
from tests.support.times import SOON
from tests.support.upstream import Behaviour, Upstream, complete_response, json_response

KEY = "key-canary-4711"
MAPPING = """
dragoman: 1
env: { UP: {}, KEY: { secret: true } }
upstreams:
  up:
    url: "${ $env.UP }"
    auth: { basic: { username: me, password: "pass-canary" } }
    headers: { x-api-key: "header-canary" }
errors:
  body: { kind: "${ kind }", message: "${ upstream.message || message }", upstream: "${ upstream }" }
routes:
  GET /it/{name}: { call: "GET up /${ $request.params.name }", respond: { body: "${ @ }" } }
  GET /case/{name}:
    call: GET up /${ $request.params.name }
    respond:
      - { when: "${ $upstream.status >= `500` }", status: 599, body: { shown: "${ @ }" } }
      - { body: "${ @ }" }
"""
TRACE = 'Traceback (most recent call last):\n  File "/srv/app.py", line 3, in f\nKeyError: 1'
UPSTREAM_ERROR = "model requires more system memory (5.5 GiB) than is available (3.2 GiB)"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    environ = {"UP": upstream.url, "KEY": KEY}
    with dragoman_server(MAPPING, environ) as running:
        yield running
        assert "canary" not in running.text()


@pytest.fixture(scope="module")
def shipped(upstream: Upstream) -> Iterator[Server]:
    environ = {"OLLAMA_HOST": upstream.url, "OPENAI_BASE_URL": f"{upstream.url}/v1", "OPENAI_API_KEY": KEY}
    with dragoman_server(("ollama-over-openai", "openai-over-ollama"), environ) as running:
        yield running
        assert "canary" not in running.text()


def send(server: Server, upstream: Upstream, behaviour: Behaviour, way: str = "it") -> tuple[Response, Any]:
    """Returns the response and the cause in the log."""
    name = uuid.uuid4().hex
    upstream.on(f"/{name}", behaviour)
    response = server.get(f"/{way}/{name}", headers={"x-request-id": name})
    return response, server.logged(name).get("cause")


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 599])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": UPSTREAM_ERROR}},
        {"error": UPSTREAM_ERROR},
        {"message": UPSTREAM_ERROR},
        {"detail": f" {UPSTREAM_ERROR}\n"},
    ],
)
def test_the_client_and_the_log_receive_the_message(
    server: Server, upstream: Upstream, status: int, body: Any
) -> None:
    response, cause = send(server, upstream, json_response(body, status))
    assert response.status == (503 if status == 503 else 502)
    assert response.json["message"] == UPSTREAM_ERROR
    assert cause == UPSTREAM_ERROR


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        (json_response({"error": {"message": TRACE}}, 500), TRACE.replace("\n  ", " ").replace("\n", " ")),
        (
            complete_response(502, b"<html>\r\n<h1>502 Bad Gateway</h1>", "text/html"),
            "<html> <h1>502 Bad Gateway</h1>",
        ),
        (complete_response(500, TRACE.encode(), "text/plain"), TRACE.replace("\n  ", " ").replace("\n", " ")),
        (json_response({"error": {"message": "<!DOCTYPE html><p>"}}, 500), "<!DOCTYPE html><p>"),
        (json_response({"detail": "Internal Server Error"}, 500), "Internal Server Error"),
        (json_response({"code": 7, "trace": ["a"]}, 500), '{"code":7,"trace":["a"]}'),
        (json_response([1], 500), "[1]"),
        (json_response({"error": {"message": 5}}, 500), '{"error":{"message":5}}'),
        (complete_response(500, b"\xff\x00\x1b[31m", "text/plain"), "\ufffd [31m"),
        (complete_response(500, b""), None),
        (json_response(None, 500), None),
    ],
    ids=range(11),
)
def test_text_outside_an_error_field_is_only_logged(
    server: Server, upstream: Upstream, behaviour: Behaviour, cause: str | None
) -> None:
    response, found = send(server, upstream, behaviour)
    assert response.status == 502
    status = response.json["upstream"]["status"]
    assert response.json["message"] == f"the upstream returned status {status}"
    assert found == cause


def test_both_are_bounded(server: Server, upstream: Upstream) -> None:
    response, cause = send(server, upstream, json_response({"error": "ü" * 5000}, 500))
    for text in (response.json["message"], cause):
        assert len(text.encode()) <= MAX_TEXT
        assert text == "ü" * ((MAX_TEXT - 3) // 2) + "…"
    _, cause = send(server, upstream, complete_response(500, b"x" * 5_000_000, "text/plain"))
    assert cause == "x" * (MAX_TEXT - 3) + "…"


@pytest.mark.parametrize("way", ["it", "case"])
@pytest.mark.parametrize("secret", [KEY, "pass-canary", "bWU6cGFzcy1jYW5hcnk=", "header-canary"])
def test_secrets_that_an_upstream_repeats_are_masked(
    server: Server, upstream: Upstream, way: str, secret: str
) -> None:
    for body in (json.dumps({"error": f"bad key {secret}!", "k": [secret]}), f"<p>{secret}"):
        response, cause = send(server, upstream, complete_response(500, body.encode(), "text/html"), way)
        assert secret not in response.text
        assert "***" in response.text
        assert cause is None if way == "case" else "***" in cause


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (400, {"error": {"message": "bad request"}}, "bad request"),
        (400, {"error": "Bad Request", "message": ["x"]}, "Bad Request"),
        (422, {"detail": [{"loc": ["body"]}]}, None),
        (404, {"detail": "Not Found"}, None),
        (404, {"error": {"message": "Not Found"}}, None),
        (404, {"error": "404 page not found"}, None),
        (404, "404 page not found", None),
        (404, {"error": "model 'x' not found"}, "model 'x' not found"),
        (500, {"message": "500 Internal Server Error."}, None),
        (500, {"error": "at least one GPU (cuda:0) is needed"}, "at least one GPU (cuda:0) is needed"),
        (500, {"error": "boom\n    at Object.f (/srv/app.js:3:7)"}, None),
        (500, {"error": "panic: x\n\ngoroutine 1 [running]:"}, None),
        (500, {"error": "app.rb:3:in `f'"}, None),
        (500, {"error": ""}, None),
        (500, {"error": {"message": ""}, "message": "later"}, "later"),
        (500, {"error": True, "detail": "text"}, "text"),
        (999, {"error": "odd"}, "odd"),
        (500, None, None),
    ],
)
def test_the_text_of_an_error_field(status: int, body: Any, text: str | None) -> None:
    assert error_text(status, body) == text


@pytest.mark.parametrize("unit", [" at a(", 'File "', "<h", " at a(:1", ".go:1 ", "x" * 50 + "\n"])
def test_hostile_texts_are_processed_quickly(unit: str) -> None:
    started = time.process_time()
    text = unit * (2_000_000 // len(unit))
    for body in ({"error": text}, text):
        error_text(500, body)
        shown = log_text(body)
        assert shown is not None
        assert len(shown.encode()) <= MAX_TEXT
    assert time.process_time() - started < SOON


@pytest.mark.parametrize(
    ("path", "at", "message"),
    [
        ("/api/tags", "/v1/models", lambda got: got["error"]),
        ("/ollama/v1/models", "/api/tags", lambda got: got["error"]["message"]),
    ],
)
def test_shipped_mappings(shipped: Server, upstream: Upstream, path: str, at: str, message: Any) -> None:
    upstream.on(at, json_response({"error": {"message": UPSTREAM_ERROR}}, 500))
    response = shipped.get(path, headers={"x-request-id": "shipped-1"})
    assert (response.status, message(response.json)) == (502, UPSTREAM_ERROR)
    upstream.on(at, json_response({"error": UPSTREAM_ERROR}, 503))
    assert message(shipped.get(path).json) == UPSTREAM_ERROR
    upstream.on(at, complete_response(500, b"<h1>Oops</h1>", "text/html"))
    assert message(shipped.get(path).json) == "the upstream returned status 500"


def test_a_shipped_mapping_masks_its_key(shipped: Server, upstream: Upstream) -> None:
    upstream.on("/v1/models", json_response({"error": {"message": f"no key like {KEY}"}}, 500))
    assert shipped.get("/api/tags").json == {"error": "no key like ***"}
