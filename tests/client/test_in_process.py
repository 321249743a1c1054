"""Another mapping as an upstream: everything works as over HTTP, without a connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.times import SOON
from tests.support.upstream import Upstream, eventually

MAPPINGS = {
    "outer.yaml": """
      dragoman: 1
      name: outer
      env: { MIDDLE: { default: "mapping:middle" } }
      upstreams:
        middle: { url: "${ $env.MIDDLE }" }
        brief: { url: "mapping:middle", timeout: { total: 300ms } }
        based: { url: "mapping:middle/deep/" }
        keyed: { url: "mapping:keyed", auth: { bearer: inner-key } }
        keyless: { url: "mapping:keyed" }
        wrongly: { url: "mapping:keyed", auth: { bearer: no-such-key } }
      errors: { body: { outer: "${ kind }", message: "${ message }", upstream: "${ upstream }" } }
      routes:
        GET /call/{p:path}: { call: "GET middle /${ $request.params.p }", respond: { body: "${ @ }" } }
        HEAD /call/{p:path}: { call: "HEAD middle /${ $request.params.p }", respond: { body: x } }
        POST /call/{p:path}:
          call: { upstream: middle, path: "/${ $request.params.p }", body: "${ @ }" }
          respond: { body: "${ @ }" }
        GET /brief: { call: GET brief /silent, respond: { body: "${ @ }" } }
        GET /based: { call: GET based /where, respond: { body: "${ @ }" } }
        GET /keyed: { call: GET keyed /x, respond: { body: "${ @ }" } }
        GET /keyless: { call: GET keyless /x, respond: { body: "${ @ }" } }
        GET /wrongly: { call: GET wrongly /x, respond: { body: "${ @ }" } }
        GET /keyed-through: { forward: keyless /x }
        GET /unknown: { call: GET middle /nowhere, respond: { body: "${ @ }" } }
        GET /unknown/{id}: { call: "GET middle /nowhere/${ $request.params.id }", respond: { body: x } }
        GET /unknown-method: { call: DELETE middle /text, respond: { body: "${ @ }" } }
        GET /unknown-through: { forward: middle /nowhere }
        GET /through/{p:path}: { forward: "middle /${ $request.params.p }" }
        GET /unknown-tried:
          try:
            - { call: GET middle /nowhere, respond: { body: first } }
            - { call: GET middle /text, respond: { body: "${ @ }" } }
        GET /headers:
          call: { upstream: middle, path: /response-headers }
          respond: { body: "${ $upstream.headers }" }
        GET /shown:
          call: GET middle /teapot
          respond:
            - when: "${ $upstream.status == `418` }"
              status: 418
              headers: { x-tea: "${ $upstream.headers.\\"x-tea\\" }" }
              body: "${ @ }"
        GET /query:
          call: { upstream: middle, path: /query, query: { a: [1, 2], b: "ü &" } }
          respond: { body: "${ @ }" }
    """,
    "middle.yaml": """
      dragoman: 1
      name: middle
      prefix: /middle
      env: { UP: {} }
      upstreams:
        inner: { url: "mapping:inner" }
        up: { url: "${ $env.UP }" }
        hurried: { url: "${ $env.UP }", timeout: { read: 200ms } }
      errors: { body: { middle: "${ kind }", message: "${ message }" } }
      routes:
        GET /request:
          respond:
            body: { id: "${ $request.id }", headers: "${ $request.headers }", path: "${ $request.path }" }
        GET /response-headers: { respond: { headers: { x-own: "1" }, body: {} } }
        GET /teapot: { respond: { status: 418, headers: { x-tea: green }, body: { short: stout } } }
        GET /third/{p}: { call: "GET inner /${ $request.params.p }", respond: { body: { middle: "${ @ }" } } }
        GET /warn: { respond: { body: { x: "${ warn('x', 'a warning of the middle') }" } } }
        GET /hang: { call: GET hurried /hang, respond: { body: "${ @ }" } }
        GET /silent: { call: GET up /hang, respond: { body: "${ @ }" } }
        GET /refused: { call: GET up /reset, respond: { body: "${ @ }" } }
        GET /busy: { call: GET up /busy, respond: { body: "${ @ }" } }
        GET /query: { respond: { body: "${ $request.query }" } }
        GET /deep/where: { respond: { body: { path: "${ $request.path }" } } }
        GET /text: { respond: { body: text } }
        GET /none: { respond: { status: 204 } }
        POST /double: { respond: { body: { n: "${ multiply(n, `2`) }", all: "${ @ }" } } }
        POST /checked: { request: { schema: { required: [model], type: object } }, respond: { body: x } }
    """,
    "inner.yaml": """
      dragoman: 1
      name: inner
      prefix: /inner
      env: { UP: {} }
      upstreams: { up: { url: "${ $env.UP }" } }
      routes:
        GET /x:
          call: GET up /echo
          respond: { body: { inner: "${ headers.\\"x-request-id\\" }", id: "${ $request.id }" } }
        GET /y: { respond: { body: { inner: y } } }
    """,
    "keyed.yaml": """
      dragoman: 1
      name: keyed
      prefix: /keyed
      auth: { bearer: inner-key }
      routes:
        GET /x: { respond: { body: { ok: true } } }
    """,
}


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPINGS, {"UP": upstream.url}) as running:
        yield running


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/call/third/y", 200, {"middle": {"inner": "y"}}),
        ("/call/warn", 200, {"x": "x"}),
        ("/call/text", 200, "text"),
        ("/based", 200, {"path": "/deep/where"}),
        ("/keyed", 200, {"ok": True}),
        ("/keyless", 200, {"ok": True}),
        ("/wrongly", 200, {"ok": True}),
        ("/keyed-through", 200, {"ok": True}),
        ("/unknown-tried", 200, "text"),
        ("/shown", 418, {"short": "stout"}),
        ("/query", 200, {"a": ["1", "2"], "b": "ü &"}),
        ("/call/none", 200, None),
    ],
)
def test_a_response_of_another_mapping(server: Server, target: str, status: int, body: object) -> None:
    response = server.get(target)
    assert response.status == status
    assert body is None or (response.text if isinstance(body, str) else response.json) == body
    assert len(response.all("x-request-id")) == 1


@pytest.mark.parametrize(
    ("target", "status", "kind", "inner"),
    [
        ("/call/nowhere", 404, "not_found", None),
        ("/call/middle/text", 404, "not_found", None),
        ("/call/double", 404, "not_found", None),
        ("/call/teapot", 502, "upstream_error", {"short": "stout"}),
        ("/call/refused", 502, "upstream_error", {"middle": "upstream_error"}),
        ("/call/hang", 502, "upstream_error", {"middle": "upstream_timeout"}),
        ("/call/busy", 429, "rate_limited", {"middle": "rate_limited"}),
    ],
)
def test_an_error_of_another_mapping_is_an_upstream_error(
    server: Server, target: str, status: int, kind: str, inner: dict[str, str] | None
) -> None:
    response = server.get(target)
    assert (response.status, response.json["outer"]) == (status, kind)
    body = response.json["upstream"].get("body") or {}
    assert inner is None or inner.items() <= body.items()
    assert target != "/call/busy" or response.header("retry-after") == "7"


@pytest.mark.parametrize(
    ("target", "status", "what"),
    [
        ("/unknown", 502, "GET /nowhere"),
        ("/unknown/7", 502, "GET /nowhere/7"),
        ("/unknown-method", 502, "DELETE /text"),
        ("/unknown-through", 502, "GET /nowhere"),
        ("/through/nowhere", 404, "GET /nowhere"),
        ("/call/nowhere/else", 404, "GET /nowhere/else"),
        ("/call/" + "x" * 300, 404, "GET /" + "x" * 255),
    ],
)
def test_a_path_that_the_other_mapping_does_not_serve(
    server: Server, target: str, status: int, what: str
) -> None:
    """An error of the calling mapping, unless its client has chosen the path."""
    response = server.get(target)
    assert response.status == status
    assert response.json["outer"] == ("not_found" if status == 404 else "upstream_error")
    assert response.json["message"] == f"the mapping 'middle' has no route for {what}"
    assert response.json["upstream"] == {"name": "middle", "status": 404, "body": None, "message": None}
    line = server.logged(response.header("x-request-id") or "")
    assert line["cause"] == "no matching route in the mapping 'middle'"


def test_bodies_are_sent_and_returned(server: Server) -> None:
    response = server.post("/call/double", {"n": 21, "é": ["🦙", None]})
    assert response.json == {"n": 42, "all": {"n": 21, "é": ["🦙", None]}}
    refused = server.post("/call/checked", {"n": 1})
    assert (refused.status, refused.json["outer"]) == (422, "unprocessable")
    deep = b'{"n":1,"a":' + b"[" * 300 + b"]" * 300 + b"}"
    assert server.post("/call/double", deep).body == b'{"n":2,"all":' + deep + b"}"
    assert server.post("/call/double", b'{"n":1,"a":' + b"[" * 1023 + b"]" * 1023 + b"}").status == 400


def test_a_head_call(server: Server) -> None:
    assert server.request("HEAD", "/call/teapot").status == 502
    assert server.request("HEAD", "/call/request").status == 200


def test_variables_of_the_inner_mapping(server: Server) -> None:
    response = server.get("/call/request", headers={"x-request-id": "outer-1", "cookie": "a=1", "x-own": "1"})
    seen = response.json
    assert (seen["id"], seen["path"]) == ("outer-1", "/request")
    assert set(seen["headers"]) == {"user-agent", "accept", "accept-encoding", "x-request-id"}


def test_variables_of_the_outer_mapping(server: Server) -> None:
    seen = server.get("/headers", headers={"x-request-id": "outer-2"}).json
    assert seen == {"x-own": "1", "x-request-id": "outer-2", "content-type": "application/json"}


def test_one_id_and_one_connection_through_three_mappings(server: Server, upstream: Upstream) -> None:
    before = len(upstream.requests)
    response = server.get("/call/third/x", headers={"x-request-id": "three-deep"})
    assert response.json == {"middle": {"inner": "three-deep", "id": "three-deep"}}
    assert len(upstream.requests) == before + 1
    assert server.logged("three-deep")["mapping"] == "outer"
    assert len([line for line in server.log() if line.get("request_id") == "three-deep"]) == 1


def test_no_unnecessary_call_is_made(server: Server, upstream: Upstream) -> None:
    before = len(upstream.connections), len(upstream.requests)
    for _ in range(5):
        assert server.get("/call/third/y").status == 200
    assert (len(upstream.connections), len(upstream.requests)) == before


def test_the_outer_timeout_applies(server: Server) -> None:
    response = server.get("/brief")
    assert (response.status, response.json["outer"]) == (504, "upstream_timeout")
    assert response.seconds < SOON


def test_logs_of_the_inner_mapping(server: Server) -> None:
    server.get("/call/warn", headers={"x-request-id": "inner-warn"})
    assert server.logged("inner-warn", "mapping_warning")["mapping"] == "middle"
    server.get("/call/refused", headers={"x-request-id": "inner-refused"})
    assert eventually(lambda: "middle" in _causes(server, "inner-refused"))
    assert _causes(server, "inner-refused")["middle"]["upstream"] == "up"


def _causes(server: Server, request_id: str) -> dict[str, dict[str, str]]:
    """Returns the causes in the log, by mapping."""
    lines = [line for line in server.log() if line.get("request_id") == request_id and "cause" in line]
    return {line["mapping"]: line for line in lines}
