"""Forwarded requests, over real sockets: any method and any bytes, in both directions, without buffering."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.server import Server, dragoman_server, reset
from tests.support.times import A_SECOND, PATIENCE, SOON
from tests.support.upstream import Channel, Seen, Upstream, complete_response, eventually, head, raw

MAPPINGS = {
    "through.yaml": """
      dragoman: 1
      env: { UP: {}, KEYS: {} }
      auth: { bearer: "${ $env.KEYS }" }
      upstreams:
        up:
          url: "${ $env.UP }/base"
          auth: { bearer: upstream-key }
        open: { url: "${ $env.UP }/base" }
        by_query: { url: "${ $env.UP }/base", auth: { query: { name: key, value: upstream-key } } }
        by_header: { url: "${ $env.UP }/base", auth: { header: { name: x-api-key, value: upstream-key } } }
        by_field: { url: "${ $env.UP }/base", headers: { x-api-key: upstream-key } }
        small: { url: "${ $env.UP }" }
        impatient: { url: "${ $env.UP }", timeout: { read: 300ms } }
        inside: { url: "mapping:inside" }
      errors: { body: { kind: "${ kind }", message: "${ message }" } }
      routes:
        GET /t/{p:path}: { forward: "up /${ $request.params.p }" }
        HEAD /t/{p:path}: { forward: "up /${ $request.params.p }" }
        POST /t/{p:path}: { forward: "up /${ $request.params.p }" }
        PUT /t/{p:path}: { forward: "open /${ $request.params.p }" }
        PATCH /t/{p:path}: { forward: "up /${ $request.params.p }" }
        DELETE /t/{p:path}: { forward: "up /${ $request.params.p }" }
        OPTIONS /t/{p:path}: { forward: "up /${ $request.params.p }" }
        GET /open/{p:path}: { forward: "open /${ $request.params.p }" }
        GET /query/{p:path}: { forward: "by_query /${ $request.params.p }" }
        GET /header/{p:path}: { forward: "by_header /${ $request.params.p }" }
        GET /field/{p:path}: { forward: "by_field /${ $request.params.p }" }
        GET /called: { call: { upstream: by_query, path: /called, query: { $spread: "${ $request.query }" } },
          respond: { body: "x" } }
        GET /dated: { respond: { headers: { date: "Mon, 01 Jan 2024 00:00:00 GMT" }, body: "x" } }
        GET /around/{p:path}:
          forward:
            upstream: inside
            path: /open/${ $request.params.p }
            headers: { x-forwarded-for: 9.9.9.9 }
        POST /small: { forward: small /echo, request: { max_bytes: 100000 } }
        POST /by: { forward: { upstream: "${ to }", path: /echo } }
        GET /silent: { forward: impatient /hang }
        GET /bare:
          forward:
            upstream: open
            path: /bare
            headers: { Cookie: null, x-tenant: "${ $request.query.tenant }", x-set: "1" }
        GET /inside/{p:path}: { forward: "inside /${ $request.params.p }" }
        POST /inside/{p:path}: { forward: "inside /${ $request.params.p }" }
    """,
    "inside.yaml": """
      dragoman: 1
      name: inside
      prefix: /never-called
      env: { UP: {} }
      upstreams: { up: { url: "${ $env.UP }" } }
      routes:
        POST /echo: { respond: { body: { got: "${ @ }" } } }
        GET /count:
          respond: { stream: { to: { sse: { done: "[DONE]" } }, emit: [{ n: 1 }, { n: 2 }], every: 1ms } }
        GET /raw: { forward: up /gzipped }
        GET /open/{p:path}: { forward: "up /base/${ $request.params.p }" }
    """,
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPINGS, {"UP": upstream.url}) as running:
        yield running


def seen_by(upstream: Upstream, request_id: str) -> Seen:
    (seen,) = upstream.seen(request_id)
    return seen


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_method_is_forwarded(server: Server, upstream: Upstream, method: str) -> None:
    body = bytes(range(256)) if method in ("POST", "PUT", "PATCH") else None
    headers = {"x-request-id": f"m-{method}", "content-type": "application/x-own; v=1", "x-more": "yes"}
    response = server.request(method, "/t/any%20where/b%2Fc?x=1&y=%20&x=2", body, headers=headers)
    seen = seen_by(upstream, f"m-{method}")
    assert response.status == 200
    assert (seen.method, seen.target) == (method, "/base/any%20where/b%2Fc?x=1&y=%20&x=2")
    assert seen.body == (body or b"")
    assert seen.header("x-more") == "yes"
    assert seen.header("content-type") == "application/x-own; v=1"
    assert seen.header("host") == upstream.url.removeprefix("http://")


def test_hop_by_hop_fields_are_not_forwarded(server: Server, upstream: Upstream) -> None:
    own = {
        "connection": "close, x-hop",
        "x-hop": "1",
        "keep-alive": "timeout=5",
        "te": "trailers",
        "proxy-authorization": "Basic Zm9v",
        "upgrade-insecure-requests": "1",
        "authorization": "Bearer client-key",
        "cookie": "a=b",
        "x-request-id": "hop",
    }
    fields = [("connection", "x-secret"), ("x-secret", "1"), ("x-passed", "2"), ("set-cookie", "s=1")]
    upstream.on("/base/hop", complete_response(207, b"ok", "text/odd", [*fields, ("set-cookie", "t=2")]))
    response = server.get("/t/hop", headers=own)
    seen = seen_by(upstream, "hop")
    for name in ("x-hop", "keep-alive", "te", "proxy-authorization"):
        assert seen.header(name) is None, name
    assert seen.header("authorization") == "Bearer upstream-key"
    assert seen.header("cookie") == "a=b"
    assert seen.header("upgrade-insecure-requests") == "1"
    assert (response.status, response.body, response.header("content-type")) == (207, b"ok", "text/odd")
    assert response.header("x-secret") is None
    assert response.header("x-passed") == "2"
    assert response.all("set-cookie") == ["s=1", "t=2"]
    assert "a=b" not in str(server.get("/t/other", headers={"x-request-id": "after"}).body)


def test_fields_set_by_the_mapping_replace_the_clients(server: Server, upstream: Upstream) -> None:
    own = {"cookie": "a=b", "x-tenant": "client's", "x-set": "2", "x-passed": "3", "x-request-id": "bare"}
    server.get("/bare", headers=own)
    seen = seen_by(upstream, "bare")
    named = [(name, value) for name, value in seen.headers if name in own and name != "x-request-id"]
    assert sorted(named) == [("x-passed", "3"), ("x-set", "1")]


def test_a_clients_key_is_not_shown_to_an_upstream_without_one(server: Server, upstream: Upstream) -> None:
    headers = {"authorization": "Bearer client-key", "x-request-id": "keyless"}
    server.request("PUT", "/t/x", b"x", headers=headers)
    assert seen_by(upstream, "keyless").header("authorization") is None


@pytest.mark.parametrize(
    "status", [200, 204, 206, 301, 304, 400, 401, 403, 404, 407, 418, 429, 500, 503, 599]
)
def test_any_status_is_returned_unchanged(server: Server, status: int) -> None:
    assert server.get(f"/open/status/{status}").status == status
    if status not in (401, 403):
        assert server.get(f"/t/status/{status}").status == status


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("by", ["t", "query", "header", "field"])
def test_upstream_errors_about_our_key_are_hidden(
    server: Server, upstream: Upstream, status: int, by: str
) -> None:
    fields = [("www-authenticate", 'Bearer realm="our-account"'), ("x-account", "our-account")]
    upstream.on(
        f"/base/refused/{status}",
        complete_response(status, b"upstream-key of our-account is wrong", "text/plain", fields),
    )
    request_id = f"refused-{by}-{status}"
    response = server.get(f"/{by}/refused/{status}", headers={"x-request-id": request_id})
    assert (response.status, response.json["kind"]) == (502, "upstream_error")
    assert response.json["message"] == f"the upstream returned status {status}"
    assert "our-account" not in f"{response.headers}{response.text}"
    assert server.logged(request_id)["status_code"] == 502
    assert "our-account" not in server.text()
    assert upstream.eventually(lambda up: up.seen(request_id))


def test_upstream_errors_without_our_key_are_passed_on(server: Server, upstream: Upstream) -> None:
    fields = [("www-authenticate", "Basic realm=client")]
    upstream.on("/base/own", complete_response(401, b"who are you", "text/plain", fields))
    for path in ("/open/own", "/around/own"):
        response = server.get(path)
        assert (response.status, response.text) == (401, "who are you")
        assert response.header("www-authenticate") == "Basic realm=client"


def test_a_challenge_is_never_about_our_key(server: Server, upstream: Upstream) -> None:
    fields = [
        ("www-authenticate", "Bearer our-account"),
        ("authentication-info", "our-account"),
        ("x-passed", "1"),
    ]
    upstream.on("/base/challenge", complete_response(200, b"ok", "text/plain", fields))
    response = server.get("/t/challenge")
    assert (response.status, response.text, response.header("x-passed")) == (200, "ok", "1")
    assert "our-account" not in str(response.headers)
    assert server.get("/open/challenge").header("www-authenticate") == "Bearer our-account"


@pytest.mark.parametrize("status", ["000", "001", "010", "042", "099", "101", "600", "999"])
@pytest.mark.parametrize("framing", ["content-length: 2\r\n", "transfer-encoding: chunked\r\n", ""])
def test_an_invalid_status_is_an_error(server: Server, upstream: Upstream, status: str, framing: str) -> None:
    body = "2\r\nok\r\n0\r\n\r\n" if "chunked" in framing else "ok"
    upstream.on("/base/odd", raw(f"HTTP/1.1 {status} Odd\r\n{framing}\r\n{body}".encode()))
    response = server.get("/open/odd", timeout=SOON)
    assert (response.status, response.json["kind"]) == (502, "upstream_error")


@pytest.mark.parametrize(
    "coding",
    ["rot13", "gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked", "chunked;q=1", ""],
)
@pytest.mark.parametrize("is_one_read", [True, False])
def test_an_unknown_transfer_coding_is_an_error(
    server: Server, upstream: Upstream, coding: str, is_one_read: bool
) -> None:
    async def coded(channel: Channel, seen: Seen) -> None:
        await channel.send(f"HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\n\r\n".encode())
        if not is_one_read:
            await channel.pause(0.05)
        await channel.send(b"2\r\nok\r\n0\r\n\r\n")
        channel.keep_alive = False

    upstream.on("/base/coded", coded)
    response = server.get("/open/coded", timeout=SOON)
    assert (response.status, response.json["kind"]) == (502, "upstream_error")


def test_a_body_invalid_from_its_first_byte_is_an_error(server: Server, upstream: Upstream) -> None:
    upstream.on(
        "/base/zz", raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n")
    )
    response = server.get("/open/zz", timeout=SOON)
    assert (response.status, response.json["kind"]) == (502, "upstream_error")


def test_a_response_has_one_date(server: Server, upstream: Upstream) -> None:
    date = "Mon, 01 Jan 2024 00:00:00 GMT"
    for number in (1, 2):
        upstream.on("/base/dated", complete_response(200, b"ok", "text/plain", [("date", date)] * number))
        assert server.get("/t/dated").all("date") == [date], (
            "the upstream's, as of a gateway (RFC 9110, 6.6.1)"
        )
        assert server.get("/around/dated").all("date") == [date]
    assert server.get("/dated").all("date") == [date]
    upstream.on("/base/undated", complete_response(200, b"ok"))
    assert len(server.get("/t/undated").all("date")) == 1


@pytest.mark.parametrize(
    ("query", "remaining"),
    [
        ("key=evil", ""),
        ("%6Bey=evil", ""),
        ("k%65y=evil&a=1", "a=1"),
        ("%6b%65%79=evil", ""),
        ("KEY=evil", ""),
        ("+key=evil", ""),
        ("key%00=evil", ""),
        ("key", ""),
        ("a=1;key=evil", "a=1"),
        ("a=1;%6Bey=evil;b=2", "a=1;b=2"),
        ("a=key&keys=1&mykey=2", "a=key&keys=1&mykey=2"),
        ("a=%6Bey;b&&c=%20+", "a=%6Bey;b&c=%20+"),
        ("%256Bey=1", "%256Bey=1"),
    ],
)
def test_a_client_cannot_send_the_parameter_of_our_key(
    server: Server, upstream: Upstream, query: str, remaining: str
) -> None:
    server.get(f"/query/echo?{query}", headers={"x-request-id": f"query-{query}".encode().hex()[:100]})
    sent = upstream.requests[-1].target.partition("?")[2]
    assert sent == (f"{remaining}&" if remaining else "") + "key=upstream-key"


def test_a_call_cannot_send_the_parameter_of_our_key_either(server: Server, upstream: Upstream) -> None:
    server.get("/called?%6Bey=evil&KEY=evil&a=1")
    assert upstream.requests[-1].target == "/base/called?a=1&key=upstream-key"


def test_a_client_cannot_send_the_field_of_our_key(server: Server, upstream: Upstream) -> None:
    for by in ("header", "field"):
        headers = {"X-Api-Key": "evil", "X_Api_Key": "evil", "x-request-id": f"field-{by}"}
        server.get(f"/{by}/echo", headers=headers)
        seen = seen_by(upstream, f"field-{by}")
        assert [value for name, value in seen.headers if name in ("x-api-key", "x_api_key")] == [
            "upstream-key"
        ]


CLAIMS = {
    "X-Forwarded-For": "1.2.3.4",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/x",
    "X_Forwarded_For": "1.2.3.4",
    "Forwarded": "for=1.2.3.4",
    "X-Real-IP": "1.2.3.4",
}


def claims(seen: Seen) -> dict[str, str]:
    return {name: value for name, value in seen.headers if name in {claim.lower() for claim in CLAIMS}}


def test_a_client_cannot_forge_forwarded_fields(server: Server, upstream: Upstream) -> None:
    server.get("/t/echo", headers={**CLAIMS, "x-request-id": "claims"})
    assert claims(seen_by(upstream, "claims")) == {}
    server.get("/around/echo", headers={**CLAIMS, "x-request-id": "around"})
    assert claims(seen_by(upstream, "around")) == {"x-forwarded-for": "9.9.9.9"}, (
        "what the mapping sets itself"
    )


def test_a_trusted_proxy_can_set_forwarded_fields(upstream: Upstream) -> None:
    args = ("--trusted-proxies", "127.0.0.0/8")
    with dragoman_server(MAPPINGS, {"UP": upstream.url}, args) as server:
        server.get("/t/echo", headers={**CLAIMS, "x-request-id": "trusted"})
    assert claims(seen_by(upstream, "trusted")) == {name.lower(): value for name, value in CLAIMS.items()}
    args = ("--trusted-proxies", "10.0.0.0/8")
    with dragoman_server(MAPPINGS, {"UP": upstream.url}, args) as server:
        server.get("/t/echo", headers={**CLAIMS, "x-request-id": "untrusted"})
    assert claims(seen_by(upstream, "untrusted")) == {}


def test_bytes_are_not_changed(server: Server, upstream: Upstream) -> None:
    packed = gzip.compress(b"x" * 10_000)
    upstream.on(
        "/base/gzipped",
        complete_response(200, packed, headers=[("content-encoding", "gzip"), ("etag", '"v"')]),
    )
    response = server.get("/t/gzipped", headers={"accept-encoding": "gzip", "x-request-id": "coded"})
    assert response.body == packed
    assert response.header("content-encoding") == "gzip"
    assert response.header("content-length") == str(len(packed))
    assert response.header("etag") == '"v"'
    assert seen_by(upstream, "coded").header("accept-encoding") == "gzip"


def test_head_has_the_length_and_no_body(server: Server, upstream: Upstream) -> None:
    upstream.on("/base/long", complete_response(200, b"x" * 1000, "text/plain"))
    response = server.request("HEAD", "/t/long")
    assert (response.body, response.header("content-length")) == (b"", "1000")


def test_a_large_upload_is_not_held_in_memory(server: Server, upstream: Upstream) -> None:
    size, digest = 24 * 1024 * 1024, hashlib.sha256()
    piece = bytes(range(256)) * 256
    upstream.on("/base/upload", complete_response(200, b"{}"))
    before = _memory(server)
    connection = server.connect()
    connection.sendall(
        f"POST /t/upload HTTP/1.1\r\nhost: x\r\nx-request-id: up\r\ncontent-length: {size}\r\n"
        "content-type: audio/wav\r\n\r\n".encode()
    )
    for _ in range(size // len(piece)):
        connection.sendall(piece)
        digest.update(piece)
    assert b" 200 " in connection.recv(65536)
    connection.close()
    seen = seen_by(upstream, "up")
    assert hashlib.sha256(seen.body).digest() == digest.digest()
    assert seen.header("content-length") == str(size)
    assert _memory(server) - before < 12 * 1024 * 1024


def _memory(server: Server) -> int:
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def test_a_chunked_upload_is_streamed(server: Server, upstream: Upstream) -> None:
    connection = server.connect()
    connection.sendall(
        b"POST /t/chunks HTTP/1.1\r\nhost: x\r\nx-request-id: chunks\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    for piece in (b"one", b"two", b"three"):
        connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        time.sleep(0.05)
    connection.sendall(b"0\r\n\r\n")
    assert b" 200 " in connection.recv(65536)
    connection.close()
    seen = seen_by(upstream, "chunks")
    assert seen.body == b"onetwothree"
    assert seen.header("transfer-encoding") == "chunked"
    assert seen.header("content-length") is None


def test_multipart_is_forwarded(server: Server, upstream: Upstream) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\x00\xff\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b", "x-request-id": "multi"}
    assert server.post("/t/multi", body, headers=headers).status == 200
    assert seen_by(upstream, "multi").body == body
    assert seen_by(upstream, "multi").header("content-type") == "multipart/form-data; boundary=b"


def test_uploads_have_a_size_limit(server: Server) -> None:
    large = b"x" * 100_001
    refused = server.post("/small", large, headers={"content-type": "text/plain"})
    assert (refused.status, refused.json["kind"]) == (413, "payload_too_large")
    connection = server.connect()
    connection.sendall(b"POST /small HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(11):
        connection.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
    assert b" 413 " in connection.recv(65536)
    connection.close()


def test_a_body_read_by_the_mapping_is_forwarded_unchanged(server: Server, upstream: Upstream) -> None:
    body = b'{ "to" : "open",  "n": 1.0 }'
    headers = {"x-request-id": "by", "content-type": "application/json"}
    assert server.post("/by", body, headers=headers).status == 200
    assert seen_by(upstream, "by").body == body
    refused = server.post("/by", {"to": "elsewhere"})
    assert (refused.status, refused.json["kind"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "path", ["..%2fadmin", "%2e%2e/admin", "a/..%2f..%2fadmin", "%252e%252e%252fadmin", "..%5cadmin", "..;/x"]
)
def test_no_path_leaves_the_base(server: Server, upstream: Upstream, path: str) -> None:
    before = len(upstream.requests)
    assert server.get(f"/t/{path}").status in (400, 404)
    assert len(upstream.requests) == before


# --- Streams ---------------------------------------------------------------------------------------------


def test_a_stream_is_not_buffered(server: Server, upstream: Upstream) -> None:
    go_on = asyncio.Event()

    async def events(channel: Channel, seen: Seen) -> None:
        await channel.send(head(200, [("content-type", "text/event-stream")]) + b"data: 1\n\n")
        await asyncio.wait_for(go_on.wait(), PATIENCE)
        await channel.send(b"data: 2\n\n")
        channel.keep_alive = False

    upstream.on("/base/events", events)
    connection = server.connect()
    connection.sendall(b"GET /t/events HTTP/1.1\r\nhost: x\r\n\r\n")
    first = _until(connection, b"data: 1\n\n")
    assert b"text/event-stream" in first
    assert b"data: 2" not in first
    upstream._loop.call_soon_threadsafe(go_on.set)
    assert b"data: 2\n\n" in _until(connection, b"0\r\n\r\n")
    connection.close()


def _until(connection: socket.socket, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        piece = connection.recv(65536)
        assert piece, data
        data += piece
    return data


def test_a_truncated_response_is_not_ended_regularly(server: Server, upstream: Upstream) -> None:
    async def truncate(channel: Channel, seen: Seen) -> None:
        await channel.send(head(200, [("content-type", "text/plain"), ("transfer-encoding", "chunked")]))
        await channel.send(b"5\r\nhello\r\n")
        await channel.pause(0.1)
        channel.reset()

    upstream.on("/base/truncated", truncate)
    connection = server.connect()
    connection.sendall(b"GET /t/truncated HTTP/1.1\r\nhost: x\r\nx-request-id: truncated\r\n\r\n")
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    connection.close()
    assert b"hello" in data
    assert not data.endswith(b"0\r\n\r\n"), "the client can detect the truncation"
    assert server.logged("truncated")["error_kind"] == "upstream_error"


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["fin", "rst"])
def test_a_client_disconnect_cancels_the_call(server: Server, upstream: Upstream, leave: object) -> None:
    async def endless(channel: Channel, seen: Seen) -> None:
        await channel.send(head(200, [("content-type", "text/plain")]))
        while not await channel.pause(0.01):
            await channel.send(b"x" * 1000)

    upstream.on("/base/endless", endless)
    for path, starts in (("endless", True), ("hang", False)):
        connection = server.connect()
        number = len(upstream.requests)
        connection.sendall(f"GET /t/{path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert eventually(lambda number=number: len(upstream.requests) > number)
        if starts:
            connection.recv(1000)
        leave(connection)  # type: ignore[operator]
        opened = upstream.connections[upstream.requests[-1].connection]
        assert eventually(lambda opened=opened: opened.closed is not None, A_SECOND), path


def test_an_aborted_upload_aborts_the_call(server: Server, upstream: Upstream) -> None:
    connection = server.connect()
    count = len(upstream.connections)
    connection.sendall(b"POST /t/half HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf")
    assert eventually(lambda: len(upstream.open) > 0 and len(upstream.connections) >= count)
    time.sleep(0.2)
    reset(connection)
    assert "/base/half" not in {seen.path for seen in upstream.requests}
    assert server.get("/t/ordinary").status == 200


def test_a_silent_upstream_is_a_timeout(server: Server) -> None:
    response = server.get("/silent")
    assert (response.status, response.json["kind"]) == (504, "upstream_timeout")
    assert response.seconds < SOON


# --- Into another mapping --------------------------------------------------------------------------------


def test_bytes_are_forwarded_to_another_mapping_too(server: Server, upstream: Upstream) -> None:
    response = server.post("/inside/echo", b'{"a": 1}', headers={"content-type": "application/json"})
    assert response.json == {"got": {"a": 1}}
    stream = server.get("/inside/count")
    assert stream.header("content-type") == "text/event-stream"
    assert stream.text == 'data: {"n":1}\n\ndata: {"n":2}\n\ndata: [DONE]\n\n'
    packed = gzip.compress(json.dumps({"n": 1}).encode())
    upstream.on("/gzipped", complete_response(200, packed, headers=[("content-encoding", "gzip")]))
    assert server.get("/inside/raw").body == packed
