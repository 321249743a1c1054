"""Request bodies: what is read, what is refused and how, and which fields are dropped."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import Server, dragoman_server, read_all
from tests.support.times import PATIENCE, SOON
from tests.support.upstream import Upstream

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
errors: { body: { kind: "${ kind }", message: "${ message }", details: "${ details }" } }
routes:
  POST /whole: { call: { upstream: up, path: /echo, body: "${ @ }" }, respond: { body: "${ body }" } }
  POST /part:
    call:
      upstream: up
      path: /echo
      body:
        model: ${ model }
        texts: { $each: "${ messages }", $value: "${ content }" }
        first: ${ tools[0].name }
        options: ${ options }
    respond: { body: "${ from_json(body) }" }
  POST /strict:
    dropped: reject
    call: { upstream: up, path: /echo, body: { model: "${ model }" } }
    respond: { body: "${ from_json(body) }" }
  POST /given-up:
    call:
      upstream: up
      path: /echo
      body: { model: "${ model }", mode: "${ if(mode == 'b', drop(mode), mode) }", $spread: "${ drop(z) }" }
    respond: { body: "${ from_json(body) }" }
  POST /given-up/strict:
    dropped: reject
    call: { upstream: up, path: /echo, body: { mode: "${ if(mode == 'b', drop(mode), mode) }" } }
    respond: { body: "${ from_json(body) }" }
  POST /given-up/twice: &twice
    calls:
      one: { upstream: up, path: /echo, body: { a: "${ a }", lost: "${ drop(z) }" } }
      two: { upstream: up, path: /echo, body: { b: "${ b }", lost: "${ [drop(z), drop(y)] | length(@) }" } }
    respond: { body: "${ from_json(body) }" }
  POST /given-up/twice/strict: { <<: *twice, dropped: reject }
  POST /wrapped:
    call: { upstream: up, path: /echo, body: { a: ["${ @ }"] } }
    respond: { body: "${ body }" }
  POST /wrapped/text: { respond: { body: "a ${ @ }" } }
  POST /blind: { call: GET up /json, respond: { body: fixed } }
  POST /local: { respond: { body: { n: "${ n }" } } }
  POST /deaf: { respond: { body: deaf } }
  POST /checked:
    request:
      schema:
        type: object
        required: [model]
        properties:
          model: { type: string, minLength: 1 }
          messages: { type: array, items: { type: object, required: [role] } }
          n: { type: integer, maximum: 1 }
          kind: { enum: [a, b] }
          "odd.name[0]": { type: string }
    respond: { body: "${ model }" }
  POST /recursive:
    request: { schema: { properties: { a: { $ref: "#" } } } }
    respond: { body: ok }
  POST /small: { request: { max_bytes: 100 }, respond: { body: "${ n }" } }
  GET /ordinary: { respond: { body: ok } }
"""


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as running:
        yield running
        assert running.get("/ordinary").seconds < SOON


NOT_JSON = {
    "words": b"hello", "open": b"{", "trailing": b'{"n": 1} x', "two": b'{"n":1}{"n":2}',
    "comma": b'{"n": 1,}', "single-quotes": b"{'n': 1}", "comment": b'{"n": 1 /* x */}',
    "nan": b'{"n": NaN}', "infinity": b'{"n": -Infinity}', "surrogate-and-nan": b'["\\ud800", NaN]',
    "leading-zero": b'{"n": 01}', "plus": b'{"n": +1}', "hex": b'{"n": 0x1}',
    "surrogate-and-control": b'["\\ud800\0"]', "bad-utf8": b'{"n": "\xff"}', "overlong": b'{"n": "\xc0\xaf"}',
    "raw-surrogate": b'{"n": "\xed\xa0\x80"}', "two-boms": b'\xef\xbb\xbf\xef\xbb\xbf{"n": 1}',
    "utf16": '{"n": 1}'.encode("utf-16"), "nul": b'{"n": "\0"}', "line-end": b'{"n": "\n"}',
    "form": b"n=1&m=2", "spaces": b"   ",
}  # fmt: skip


@pytest.mark.parametrize("path", ["/whole", "/local", "/checked", "/blind"])
def test_invalid_json(server: Server, path: str) -> None:
    for name, body in NOT_JSON.items():
        response = server.post(path, body, headers={"content-type": "application/json"})
        assert (response.status, response.json["kind"]) == (400, "invalid_request"), name
        assert response.seconds < SOON
        assert "line 1 column" in response.json["message"] or "invalid JSON" in response.json["message"]


OUT_OF_BOUNDS = {
    b'{"n":\n 1e5000}': "the request's body has a number out of range: line 2 column 2",
    b'["1e5000", -1e99999999999999999999]': "the request's body has a number out of range: line 1 column 12",
    b'{"n": ' + b"9" * 5000 + b"}": "the request's body has a number out of range: line 1 column 7",
    b'["\\ud800", ' + b"9" * 400 + b".5]": "the request's body has a number out of range: line 1 column 12",
    b"[" + b"1e3999," * 251 + b"1]": "the request's body has a number out of range: line 1 column 1752",
    b"[" * 1025 + b"]" * 1025: "the request's body is nested more than 1024 levels deep: line 1 column 1026",
    b"[" * 100_000 + b"]" * 100_000: (
        "the request's body is nested more than 1024 levels deep: line 1 column 1026"
    ),
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000: (
        "the request's body is nested more than 1024 levels deep: line 1 column 5122"
    ),
    b'["\\ud800",' + b"[" * 1024 + b"]" * 1024 + b"]": (
        "the request's body is nested more than 1024 levels deep"
    ),
}


@pytest.mark.parametrize("body", OUT_OF_BOUNDS)
def test_json_beyond_a_limit_is_named_as_such(server: Server, body: bytes) -> None:
    response = server.post("/whole", body)
    assert (response.status, response.json["kind"]) == (400, "invalid_request")
    assert response.json["message"] == OUT_OF_BOUNDS[body]


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b'{"n":1}', '{"n":1}'),
        (b' \r\n\t{"n" : 1.0 } \n', '{"n":1.0}'),
        (b'"text"', '"text"'),
        (b"7", "7"),
        (b"[1,[2]]", "[1,[2]]"),
        (b'{"b":1,"a":2,"\\u00e9\\ud83e\\udd99":"\\u0000\\u2028"}', '{"b":1,"a":2,"é🦙":"\\u0000\u2028"}'),
        (
            b'{"n":18446744073709551615,"m":-9223372036854775808}',
            '{"n":18446744073709551615,"m":-9223372036854775808}',
        ),
        (b'{"a":1,"a":2}', '{"a":2}'),
        (b"[" * 200 + b"]" * 200, "[" * 200 + "]" * 200),
        (b"[" * 255 + b"]" * 255, "[" * 255 + "]" * 255),
        (b"[" * 1024 + b"]" * 1024, "[" * 1024 + "]" * 1024),
        (b'{"a":' * 1024 + b"1" + b"}" * 1024, '{"a":' * 1024 + "1" + "}" * 1024),
        (b'\xef\xbb\xbf{"n":1}', '{"n":1}'),
        (b'\xef\xbb\xbf{"n":"\\ud800"}', '{"n":"\\ud800"}'),
        (b'{"n":"\\ud800"}', '{"n":"\\ud800"}'),
        (b'{"n":"\\uDC00x\\u00e9"}', '{"n":"\\udc00xé"}'),
        (b'{"\\ud800":1,"x":"\\udbff\\udbff\\udfff"}', '{"\\ud800":1,"x":"\\udbff\U0010ffff"}'),
        (b'["\\\\ud800"]', '["\\\\ud800"]'),
        (b'{"n":1e400}', '{"n":1' + "0" * 400 + "}"),
        (b'{"n":-1.5e400}', '{"n":-15' + "0" * 399 + "}"),
        (b"[" + b"7" * 4300 + b"]", "[" + "7" * 4300 + "]"),
        (b"null", ""),
        (b"", ""),
    ],
)
def test_json_is_carried_over(server: Server, body: bytes, seen: str) -> None:
    assert server.post("/whole", body).text == seen


def test_a_value_too_deep_to_be_written_is_a_client_error(server: Server) -> None:
    for path in ("/wrapped", "/wrapped/text"):
        response = server.post(path, b"[" * 1022 + b"]" * 1022)
        assert response.text in ('{"a":[' + "[" * 1022 + "]" * 1022 + "]}", "a " + "[" * 1022 + "]" * 1022)
    response = server.post("/wrapped", b"[" * 1023 + b"]" * 1023)
    assert (response.status, response.json["kind"]) == (400, "invalid_request")
    assert response.json["message"] == "the request is nested more than 1024 levels deep"
    assert server.post("/recursive", b'{"a":' * 1000 + b"1" + b"}" * 1000).status in (200, 400, 422)


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-encoding": "gzip"}, gzip.compress(b'{"n":1}', mtime=0), 415),
        ({"content-encoding": "GZIP"}, b'{"n":1}', 415),
        ({"content-encoding": "br, gzip"}, b'{"n":1}', 415),
        ({"content-encoding": "identity"}, b'{"n":1}', 200),
        ({"content-type": "multipart/form-data; boundary=x"}, b'--x\r\n\r\n{"n":1}\r\n--x--', 415),
        ({"content-type": "Multipart/Mixed"}, b'{"n":1}', 415),
        ({"content-type": "text/plain"}, b'{"n":1}', 200),
        ({"content-type": "application/json; charset=utf-8"}, b'{"n":1}', 200),
        ({"content-type": "é"}, b'{"n":1}', 200),
        ({}, b'{"n":1}', 200),
    ],
)
def test_types_and_codings(server: Server, headers: dict[str, str], body: bytes, status: int) -> None:
    response = server.post("/local", body, headers=headers)
    assert response.status == status
    assert response.json == {"n": 1} if status == 200 else response.json["kind"] == "invalid_request"


@pytest.mark.parametrize(
    ("body", "path", "rule"),
    [
        ({}, "", "required"),
        ([], "", "type"),
        ({"model": 5}, "model", "type"),
        ({"model": ""}, "model", "minLength"),
        (
            {"model": "m", "messages": [{"role": "user"}, {"content": "secret-payload"}]},
            "messages[1]",
            "required",
        ),
        ({"model": "m", "messages": "secret-payload"}, "messages", "type"),
        ({"model": "m", "n": 2}, "n", "maximum"),
        ({"model": "m", "kind": "secret-payload"}, "kind", "enum"),
        ({"model": "m", "odd.name[0]": 1}, "odd.name[0]", "type"),
    ],
)
def test_a_body_that_violates_the_schema(server: Server, body: Any, path: str, rule: str) -> None:
    response = server.post("/checked", body)
    assert (response.status, response.json["kind"]) == (422, "unprocessable")
    assert (response.json["details"]["path"], response.json["details"]["rule"]) == (path, rule)
    assert path in response.json["message"]
    assert "secret-payload" not in response.text
    assert "secret-payload" not in server.text()


def test_a_missing_body_that_is_required(server: Server) -> None:
    assert server.post("/checked").status == 400
    assert server.post("/local").json == {}


# --- Size ------------------------------------------------------------------------------------------------


def _upload(server: Server, path: str, framing: str, size: int) -> tuple[bytes, float]:
    """Sends a complete large body before it reads, as simple clients do."""
    started = time.monotonic()
    chunk = b"x" * 65_536
    piece = b"10000\r\n" + chunk + b"\r\n" if framing == "chunked" else chunk
    field = "transfer-encoding: chunked" if framing == "chunked" else f"content-length: {size}"
    with server.connect() as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{field}\r\n\r\n".encode()
        )
        for _ in range(size // len(chunk)):
            connection.sendall(piece)
        if framing == "chunked":
            connection.sendall(b"0\r\n\r\n")
        return read_all(connection), time.monotonic() - started


@pytest.mark.parametrize("framing", ["announced", "chunked"])
@pytest.mark.parametrize("path", ["/small", "/local"])
def test_a_refusal_can_be_read_while_the_client_uploads(server: Server, path: str, framing: str) -> None:
    response, seconds = _upload(server, path, framing, 64 << 20)
    assert response.startswith(b"HTTP/1.1 413 ")
    assert b'"kind":"payload_too_large"' in response
    assert seconds < SOON


@pytest.mark.parametrize(("length", "status"), [(100, 200), (101, 413), (0, 200)])
def test_the_limit_is_the_largest_accepted_body(server: Server, length: int, status: int) -> None:
    body = (b'{"n":1}' + b" " * length)[:length]
    for headers in ({}, {"transfer-encoding": "chunked"}):
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (length, body) if headers and length else body
        response = server.post("/small", sent if sent or not headers else b"0\r\n\r\n", headers=headers)
        assert response.status == status


def test_an_announced_length_is_refused_before_the_body(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(
            b"POST /small HTTP/1.1\r\nhost: x\r\ncontent-length: 101\r\nexpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_connection_survives_an_unread_body(server: Server) -> None:
    connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.connect()
        connection.auto_open = False
        for path, status in (("/deaf", 200), ("/small", 413), ("/nowhere", 404)) * 3:
            connection.request("POST", path, b"x" * 200_000)
            response = connection.getresponse()
            length = int(response.headers["content-length"])
            assert (response.status, len(response.read())) == (status, length)


# --- Dropped fields --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "dropped"),
    [
        ({"model": "m"}, None),
        ({"model": "m", "n": None}, None),
        ({"model": "m", "n": 2}, "n"),
        ({"z": 1, "a": 1}, "a, z"),
        (
            {"messages": [{"role": "u", "content": "c"}, {"role": "u", "x": 1}]},
            "messages[].role, messages[].x",
        ),
        ({"tools": [{"name": "t", "function": {}}]}, "tools[].function"),
        ({"options": {"deep": {"anything": [1]}}}, None),
        ({"weird name\r\nx: 1": 1, "é": 2}, "weird?name??x??1, ?"),
        ({"n" * 100: 1}, "n" * 64),
        (
            {f"f{number:04}": 1 for number in range(2000)},
            ", ".join(f"f{n:04}" for n in range(584)) + ", ...",
        ),
    ],
)
def test_dropped_fields_are_named(server: Server, body: Any, dropped: str | None) -> None:
    response = server.post("/part", body)
    assert response.status == 200
    assert response.header("x-dragoman-dropped") == dropped
    logged = server.logged(response.header("x-request-id") or "").get("dropped_fields")
    assert (logged is None) == (dropped is None)


def test_a_route_that_rejects_dropped_fields(server: Server) -> None:
    assert server.post("/strict", {"model": "m"}).json == {"model": "m"}
    response = server.post("/strict", {"model": "m", "n": 3, "logit_bias": {}})
    assert (response.status, response.json["details"]) == (400, {"unsupported": ["logit_bias", "n"]})
    assert "logit_bias, n" in response.json["message"]
    assert server.post("/strict", {"model": "m", "n": None}).status == 200


def test_fields_that_a_mapping_discards_are_named_too(server: Server) -> None:
    response = server.post("/given-up", {"model": "m", "mode": "b", "z": 1, "a": 1})
    assert (response.json, response.header("x-dragoman-dropped")) == ({"model": "m"}, "a, mode, z")
    response = server.post("/given-up", {"model": "m", "mode": "a"})
    assert (response.json, response.header("x-dragoman-dropped")) == ({"model": "m", "mode": "a"}, None)
    response = server.post("/given-up/strict", {"mode": "b"})
    assert (response.status, response.json["details"]) == (400, {"unsupported": ["mode"]})
    assert server.post("/given-up/strict", {"mode": "a"}).json == {"mode": "a"}


def test_fields_that_several_calls_discard(server: Server) -> None:
    response = server.post("/given-up/twice", {"a": 1, "b": 1, "c": 1, "y": 1, "z": 1})
    assert (response.status, response.header("x-dragoman-dropped")) == (200, "c, y, z")
    assert server.post("/given-up/twice", {"a": 1, "b": 1}).header("x-dragoman-dropped") is None
    response = server.post("/given-up/twice/strict", {"a": 1, "z": 1})
    assert (response.status, response.json["details"]) == (400, {"unsupported": ["z"]})
    assert server.post("/given-up/twice/strict", {"a": 1}).status == 200


def test_a_route_without_a_call_drops_nothing(server: Server) -> None:
    assert server.post("/local", {"n": 1, "m": 2}).header("x-dragoman-dropped") is None
    assert server.post("/deaf", json.dumps({"n": 1}).encode()).text == "deaf"
