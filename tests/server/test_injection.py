"""Values are data: no value from a client's body changes the structure of a call."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.times import SOON
from tests.support.upstream import Seen, Upstream

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }/base" } }
routes:
  POST /path: { call: { upstream: up, method: POST, path: "/in/${ v }/end" }, respond: { body: ok } }
  POST /mixed: { call: { upstream: up, method: POST, path: "/in/x-${ v }.json" }, respond: { body: ok } }
  POST /query:
    call: { upstream: up, method: POST, path: /in, query: { q: "${ v }", r: 1 } }
    respond: { body: ok }
  POST /header:
    call: { upstream: up, method: POST, path: /in, headers: { x-v: "${ v }" } }
    respond: { body: ok }
  POST /form: { call: { upstream: up, path: /in, form: { q: "${ v }", r: 1 } }, respond: { body: ok } }
  POST /body: { call: { upstream: up, path: /in, body: { v: "${ v }", r: 1 } }, respond: { body: ok } }
  POST /names:
    call:
      upstream: up
      method: POST
      path: /in
      query: { $spread: "${ v }" }
      headers: { $spread: "${ v }" }
    respond: { body: ok }
  POST /response: { respond: { headers: { x-v: "${ v }" }, body: ok } }
  GET /ordinary: { call: GET up /json, respond: { body: "${ @ }" } }
"""
PAYLOADS: list[Any] = [
    "plain", "a\r\nx-injected: 1", "a\nb", "a\rb", "a\0b", "%0d%0ax-injected: 1", "%00", "../admin", "..",
    "a/b", "?x=1", "#f", "a&q=2&r=3", "u:p@evil.example", "\\\\evil.example", " a b ", "héllo", "模型🦙",
    "嘊嘍x-injected:1", "\u2028\u0085\x0b", "x" * 8192, "", None, 5, 1.5, True, ["a", "b"], {"k": "v"}, [],
    [None], "%2e%2e%2fadmin", "HTTP/1.1\r\n\r\nGET /admin HTTP/1.1\r\nhost: x\r\n\r\n",
    "http://evil.example/", "${ $env.UP }", "a;b=c", "a\ud800b",
]  # fmt: skip
SINKS = ["path", "mixed", "query", "header", "form", "body"]
HEADERS = {
    "host",
    "user-agent",
    "accept",
    "accept-encoding",
    "x-request-id",
    "content-length",
    "content-type",
    "x-v",
}


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as running:
        yield running


@pytest.mark.parametrize("sink", SINKS)
def test_a_value_does_not_change_the_structure(server: Server, upstream: Upstream, sink: str) -> None:
    for payload in PAYLOADS:
        request_id = uuid.uuid4().hex
        before = len(upstream.requests)
        response = server.post(f"/{sink}", {"v": payload}, headers={"x-request-id": request_id})
        calls = upstream.seen(request_id)
        assert len(upstream.requests) - before == len(calls), payload
        assert (response.status, len(calls)) in ((200, 1), (400, 0)), (payload, response)
        for seen in calls:
            names = [name for name, _ in seen.headers]
            assert seen.method == "POST"
            assert len(names) == len(set(names))
            assert set(names) <= HEADERS
            assert seen.header("host") == upstream.url.removeprefix("http://")
            CHECKS[sink](seen, payload)
    assert server.get("/ordinary").seconds < SOON


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _check_path(seen: Seen, payload: Any, start: str = "/base/in/", end: str = "/end") -> None:
    assert seen.target.startswith(start)
    assert seen.target.endswith(end)
    value = seen.target[len(start) : len(seen.target) - len(end)]
    assert not set(value) & set("/?#\\ \r\n")
    assert unquote_plus(value.replace("+", "%2B")) == _text(payload)


def _check_mixed(seen: Seen, payload: Any) -> None:
    _check_path(seen, payload, "/base/in/x-", ".json")


def _items(payload: Any) -> list[str]:
    found = payload if isinstance(payload, list) else [payload]
    return [_text(item) for item in found if item is not None]


def _check_query(seen: Seen, payload: Any) -> None:
    assert seen.path == "/base/in"
    assert seen.query == [*(("q", item) for item in _items(payload)), ("r", "1")]


def _check_form(seen: Seen, payload: Any) -> None:
    assert seen.target == "/base/in"
    pairs = [tuple(map(unquote_plus, pair.split("="))) for pair in seen.body.decode("ascii").split("&")]
    assert pairs == [*(("q", item) for item in _items(payload)), ("r", "1")]
    assert seen.header("content-type") == "application/x-www-form-urlencoded"


def _check_header(seen: Seen, payload: Any) -> None:
    assert seen.header("x-v") == (None if payload is None else _text(payload).strip())


def _check_body(seen: Seen, payload: Any) -> None:
    assert seen.target == "/base/in"
    wanted = {"v": payload, "r": 1} if payload is not None else {"r": 1}
    assert seen.json == ({"v": [None], "r": 1} if payload == [None] else wanted)


CHECKS: dict[str, Any] = {
    "path": _check_path,
    "mixed": _check_mixed,
    "query": _check_query,
    "form": _check_form,
    "header": _check_header,
    "body": _check_body,
}

#: The payloads that each sink can carry; all others are a client error.
REFUSED = {
    "path": {"../admin", "..", "", "%2e%2e%2fadmin", "a\ud800b"},
    "header": {
        "a\r\nx-injected: 1",
        "a\nb",
        "a\rb",
        "a\0b",
        "模型🦙",
        "嘊嘍x-injected:1",
        "\u2028\u0085\x0b",
        "a\ud800b",
    },
    "query": {"a\ud800b"},
    "form": {"a\ud800b"},
    "body": set(),
}


@pytest.mark.parametrize("sink", list(REFUSED))
def test_only_values_that_cannot_be_sent_are_refused(server: Server, sink: str) -> None:
    texts = [payload for payload in PAYLOADS if isinstance(payload, str) and len(payload) < 8192]
    refused = {text for text in texts if server.post(f"/{sink}", {"v": text}).status == 400}
    line_ends = {text for text in texts if "\r" in text} if sink == "header" else set()
    assert refused == REFUSED[sink] | line_ends


@pytest.mark.parametrize(
    ("names", "status"),
    [
        ({"x-a": "1"}, 200),
        ({"x a": "1"}, 400),
        ({"x:a": "1"}, 400),
        ({"a\r\nx-injected": "1"}, 400),
        ({"é": "1"}, 400),
        ({"\ud800": "1"}, 400),
        ({"": "1"}, 400),
        (
            {
                "host": "evil.example",
                "Content-Length": "1",
                "transfer-encoding": "chunked",
                "connection": "x",
            },
            200,
        ),
    ],
)
def test_names_from_a_client_are_data_too(
    server: Server, upstream: Upstream, names: dict[str, str], status: int
) -> None:
    request_id = uuid.uuid4().hex
    assert server.post("/names", {"v": names}, headers={"x-request-id": request_id}).status == status
    calls = upstream.seen(request_id)
    assert len(calls) == (status == 200)
    for seen in calls:
        assert dict(seen.query) == names
        assert seen.header("host") == upstream.url.removeprefix("http://")
        assert seen.header("transfer-encoding") is None
        assert seen.header("content-length") == "0"


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_a_value_in_a_response_header(server: Server, payload: Any) -> None:
    response = server.post("/response", {"v": payload})
    assert response.status in (200, 400)
    assert response.header("x-injected") is None
    assert response.status == 400 or response.text == "ok"
