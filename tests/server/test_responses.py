"""Responses: bodies, statuses, headers, forms and queries; and the error format, even if it fails itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.times import SOON
from tests.support.upstream import Upstream

MAPPINGS = {
    "responses.yaml": """
      dragoman: 1
      env: { UP: {} }
      upstreams: { up: { url: "${ $env.UP }" } }
      errors: { body: { kind: "${ kind }", message: "${ message }" } }
      routes:
        GET /text: { respond: { body: "Ollama is running" } }
        GET /unicode: { respond: { body: "größer 🦙 ${ $request.query.x }" } }
        GET /html: { respond: { headers: { Content-Type: text/html }, body: "<b>x</b>" } }
        GET /json-text: { respond: { headers: { content-type: application/json }, body: "x" } }
        GET /problem:
          respond: { status: 418, headers: { content-type: application/problem+json }, body: { a: 1 } }
        GET /object:
          respond:
            body: { a: 1, b: null, c: "${ $request.query.c }", d: "${ nullable($request.query.d) }" }
        GET /list: { respond: { body: [1, "${ $request.query.b }", [], {}] } }
        GET /number: { respond: { body: 5 } }
        GET /empty: { respond: { status: 202 } }
        GET /no-content: { respond: { status: 204, body: ignored } }
        GET /reset-content: { respond: { status: 205 } }
        GET /not-modified: { respond: { status: 304, headers: { etag: '"x"' }, body: ignored } }
        GET /redirect: { respond: { status: 302, headers: { location: /text } } }
        GET /status: { respond: { status: "${ to_number($request.query.s) }", body: ok } }
        GET /header:
          respond: { headers: { x-v: "${ $request.query.v }", x-null: "${ $request.query.none }" }, body: ok }
        POST /header: { respond: { headers: { x-v: "${ v }" }, body: ok } }
        POST /deep: { respond: { body: "${ @ }" } }
        GET /query: { respond: { body: "${ $request.query }" } }
        GET /headers: { respond: { body: "${ $request.headers }" } }
        GET /request: { respond: { body: { p: "${ $request.path }" } } }
        GET /created:
          call: GET up /status/201
          respond: { status: "${ $upstream.status }", body: "${ $upstream.name }" }
        GET /upstream-header:
          call: GET up /busy
          respond:
            - when: "${ $upstream.status == `429` }"
              body: "${ $upstream.headers.\\"retry-after\\" }"
        GET /fail: { respond: { body: "${ fail('rate_limited', 'come back later') }" } }
        GET /no-case: { respond: [ { when: "${ $request.query.yes }", body: yes } ] }
        POST /form:
          call:
            upstream: up
            path: /echo
            form: { a: "${ a }", b: [x, y], c: null, d: "${ d }", "é&": "=" }
          respond: { body: "${ body }" }
        GET /sent-query:
          call:
            upstream: up
            path: /echo
            query: { a: "${ $request.query.a }", b: [1, null, true], c: null, "é&": "= +" }
          respond: { body: "${ target }" }
        GET /ordinary: { respond: { body: ok } }
    """,
    "broken.yaml": """
      dragoman: 1
      name: broken
      prefix: /broken
      errors:
        status: "${ abs(message) }"
        headers: { x-kind: "${ kind }" }
        body: { m: "${ message }" }
      routes:
        GET /x: { respond: { body: x } }
    """,
    "broken-body.yaml": """
      dragoman: 1
      name: broken-body
      prefix: /broken-body
      errors: { status: 503, body: { m: "${ abs(message) }" } }
      routes:
        GET /x: { respond: { body: x } }
    """,
    "failing.yaml": """
      dragoman: 1
      name: failing
      prefix: /failing
      errors: { body: "${ fail('unauthorized', message) }" }
      routes:
        GET /x: { respond: { body: x } }
    """,
    "headers.yaml": """
      dragoman: 1
      name: headers
      prefix: /headers-of
      errors:
        status: ${ if(kind == 'method_not_allowed', `499`, status) }
        headers: { x-kind: "${ kind }", x-id: "${ request_id }", content-type: text/plain }
        body: "failed: ${ kind }"
      routes:
        GET /x: { respond: { body: x } }
    """,
    "plain.yaml": """
      dragoman: 1
      name: plain
      prefix: /plain
      routes:
        GET /x: { respond: { body: x } }
    """,
}


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPINGS, {"UP": upstream.url}) as running:
        yield running
        assert running.get("/ordinary").seconds < SOON


TEXT, JSON = "text/plain; charset=utf-8", "application/json"


@pytest.mark.parametrize(
    ("target", "status", "media_type", "body"),
    [
        ("/text", 200, TEXT, "Ollama is running"),
        ("/unicode?x=%F0%9F%A6%99", 200, TEXT, "größer 🦙 🦙"),
        ("/unicode", 200, TEXT, "größer 🦙 "),
        ("/html", 200, "text/html", "<b>x</b>"),
        ("/json-text", 200, JSON, '"x"'),
        ("/problem", 418, "application/problem+json", '{"a":1}'),
        ("/object", 200, JSON, '{"a":1,"b":null,"d":null}'),
        ("/object?c=%E9%F&d=", 200, JSON, '{"a":1,"b":null,"c":"\ufffd%F","d":""}'),
        ("/list?b=2", 200, JSON, '[1,"2",[],{}]'),
        ("/list", 200, JSON, "[1,[],{}]"),
        ("/number", 200, JSON, "5"),
        ("/empty", 202, None, ""),
        ("/no-content", 204, None, ""),
        ("/reset-content", 205, None, ""),
        ("/not-modified", 304, None, ""),
        ("/redirect", 302, None, ""),
        ("/created", 201, TEXT, "up"),
        ("/upstream-header", 200, TEXT, "7"),
        ("/request?x=1", 200, JSON, '{"p":"/request"}'),
        ("/query?a=1&a=2&b=&c&d=+%2B%26", 200, JSON, '{"a":["1","2"],"b":"","c":"","d":" +&"}'),
        ("/fail", 429, JSON, '{"kind":"rate_limited","message":"come back later"}'),
        ("/no-case?yes=1", 200, TEXT, "yes"),
    ],
)
def test_a_response(server: Server, target: str, status: int, media_type: str | None, body: str) -> None:
    response = server.get(target)
    assert (response.status, response.header("content-type"), response.text) == (status, media_type, body)
    lengths = [] if status in (204, 304) else [str(len(response.body))]
    assert response.all("content-length") == lengths
    assert response.header("transfer-encoding") is None
    bare = server.request("HEAD", target)
    assert (bare.status, bare.body, bare.all("content-length")) == (status, b"", lengths)


@pytest.mark.parametrize(
    ("given", "status"),
    [("200", 200), ("201", 201), ("599", 599), ("418", 418), ("199", 400), ("100", 400), ("101", 400),
     ("600", 400), ("0", 400), ("-200", 400), ("200.5", 400), ("abc", 400), ("", 400), ("1e3", 400),
     ("99999999999", 400)],
)  # fmt: skip
def test_a_computed_status(server: Server, given: str, status: int) -> None:
    assert server.get(f"/status?s={given}").status == status


@pytest.mark.parametrize(
    ("query", "status", "value"),
    [("v=a", 200, "a"), ("v=", 200, ""), ("", 200, None), ("v=%C3%A9", 200, "é"), ("v=+a+", 200, "a"),
     ("v=a%0D%0Ax-injected:%201", 400, None), ("v=%00", 400, None), ("v=%E6%A8%A1", 400, None),
     ("v=%7F", 400, None), ("v=a&v=b", 200, '["a","b"]'), ("v=%C2%85", 200, "\x85")],
)  # fmt: skip
def test_a_computed_header(server: Server, query: str, status: int, value: str | None) -> None:
    response = server.get(f"/header?{query}")
    assert (response.status, response.header("x-null"), response.header("x-injected")) == (status, None, None)
    assert status == 400 or response.header("x-v") == (value.strip() if value else value)


@pytest.mark.parametrize(
    ("value", "status", "sent"),
    [
        (True, 200, "true"),
        (1.5, 200, "1.5"),
        ({"a": [1]}, 200, '{"a":[1]}'),
        (None, 200, None),
        ("a\nb", 400, None),
        ("x" * 8192, 200, "x" * 8192),
        ("x" * 8193, 400, None),
    ],
)
def test_a_header_of_any_type(server: Server, value: Any, status: int, sent: str | None) -> None:
    response = server.post("/header", {"v": value})
    assert (response.status, response.header("x-v")) == (status, sent)


def test_what_can_be_read_can_be_written(server: Server) -> None:
    for body in (b"[" * 300 + b"]" * 300, b'{"a":' * 400 + b"1" + b"}" * 400):
        assert server.post("/deep", body).body == body
        assert server.post("/header", b'{"v":' + body + b"}").header("x-v") == body.decode()


def test_repeated_headers_are_joined(server: Server) -> None:
    response = server.raw(
        b"GET /headers HTTP/1.1\r\nhost: x\r\nx-a: 1\r\nX-A: 2\r\nconnection: close\r\n\r\n"
    )
    assert b'"x-a":"1, 2"' in response


def test_raw_bytes_in_a_query_are_utf8(server: Server) -> None:
    response = server.raw("GET /query?a=ü HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    assert response.startswith(b"HTTP/1.1 400 ") or '"a":"ü"'.encode() in response


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({"a": "1", "d": "x"}, "a=1&b=x&b=y&d=x&%C3%A9%26=%3D"),
        ({"a": ["1", "2 3"], "d": None}, "a=1&a=2+3&b=x&b=y&%C3%A9%26=%3D"),
        ({"a": [], "d": True}, "b=x&b=y&d=true&%C3%A9%26=%3D"),
        ({"a": {"k": "v"}, "d": 1.5}, "a=%7B%22k%22%3A%22v%22%7D&b=x&b=y&d=1.5&%C3%A9%26=%3D"),
    ],
)
def test_a_form(server: Server, body: Any, sent: str) -> None:
    assert server.post("/form", body).text == sent


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("", "/echo?b=1&b=true&%C3%A9%26=%3D+%2B"),
        ("?a=x%20y", "/echo?a=x+y&b=1&b=true&%C3%A9%26=%3D+%2B"),
        ("?a=1&a=2", "/echo?a=1&a=2&b=1&b=true&%C3%A9%26=%3D+%2B"),
    ],
)
def test_a_query(server: Server, query: str, sent: str) -> None:
    assert server.get(f"/sent-query{query}").text == sent


# --- Errors ----------------------------------------------------------------------------------------------

PLAIN = {"error": {"message": "no route serves this path", "type": "not_found", "param": None, "code": None}}


@pytest.mark.parametrize("mapping", ["broken", "broken-body", "failing", "plain"])
def test_without_a_working_error_format_the_default_is_used(server: Server, mapping: str) -> None:
    response = server.get(f"/{mapping}/nowhere")
    assert (response.status, response.json) == (404, PLAIN)
    refused = server.post(f"/{mapping}/x")
    assert (refused.status, refused.header("allow")) == (405, "GET, HEAD")
    assert refused.json["error"]["type"] == "method_not_allowed"
    if mapping != "plain":
        warning = server.logged(response.header("x-request-id") or "", "mapping_warning")
        assert (warning["mapping"], warning["level"]) == (mapping, "warning")


def test_an_error_format_with_its_own_headers_and_statuses(server: Server) -> None:
    response = server.get("/headers-of/nowhere")
    assert (response.status, response.text) == (404, "failed: not_found")
    assert (response.header("x-kind"), response.header("content-type")) == ("not_found", "text/plain")
    assert response.header("x-id") == response.header("x-request-id")
    assert server.post("/headers-of/x").status == 499


def test_no_matching_case_for_a_response_is_an_internal_error(server: Server) -> None:
    response = server.get("/no-case")
    assert (response.status, response.json["kind"]) == (500, "internal")
