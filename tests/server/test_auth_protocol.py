"""A scheme that is merely registered authenticates calls, forwarded requests and health checks.

The schemes are those of `tests/support/signing.py`: one whose signature covers the body, and one that fails.
`serve` runs with them and calls a real upstream that checks the signature of every request.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.signing import COMMAND, is_signed
from tests.support.upstream import Upstream, complete_response, in_turn, json_response

KEY, SIGNER = "canary-of-the-signer", "we"
FAILING = "canary-of-the-failure"
MAPPINGS = {
    "mapping.yaml": """
dragoman: 1
name: outer
env: { UP: {}, OTHER: {}, KEY: { secret: true }, FAILING: { secret: true } }
errors: { body: { kind: "${ kind }", message: "${ message }", body: "${ upstream.body }" } }
upstreams:
  one:
    url: "${ $env.UP }/base"
    auth: &signed { signed: { signer: we, key: "${ $env.KEY }" } }
    headers: { x-org: acme }
    health: { path: /health, keep: 1ms }
    retry: { attempts: 3, on: [503], wait: 1ms }
  several: { url: ["${ $env.UP }", "${ $env.OTHER }"], auth: *signed, health: { path: /health, keep: 1ms } }
  inner: { url: "mapping:inner", auth: *signed }
  failing: { url: "${ $env.UP }/failing", auth: { failing: "${ $env.FAILING }" }, health: GET /health }
routes:
  POST /call:
    call: { upstream: one, path: /call, query: { $spread: "${ $request.query }", n: 1 }, body: "${ @ }" }
    respond: { body: "${ @ }" }
  POST /form:
    call: { upstream: one, path: /form, form: { a: "ü &", b: "${ a }" } }
    respond: { body: "${ @ }" }
  GET /plain: { call: GET one /plain, respond: { body: "${ @ }" } }
  GET /cached:
    calls: { only: { upstream: one, path: /cached, cache: 1m } }
    respond: { body: "${ $calls.only.body }" }
  POST /each:
    calls: { all: { upstream: several, path: "/each/${ @ }", each: "${ ids }", method: PUT, body: "${ @ }" } }
    respond: { body: "${ $calls.all[*].status }" }
  POST /inner:
    call: { upstream: inner, path: /seen, body: { deep: "${ @ }" } }
    respond: { body: "${ @ }" }
  POST /forward/{p:path}: { forward: "one /${ $request.params.p }" }
  POST /chosen/{p:path}: { forward: { upstream: "${ $request.query.to }", path: "/${ $request.params.p }" } }
  POST /bounded: { forward: one /bounded, request: { max_bytes: 10 } }
  POST /tried: { try: [{ forward: one /down }, { forward: one /tried }] }
  GET /failing/call: { call: GET failing /x, respond: { body: x } }
  POST /failing/forward: { forward: failing /x }
  GET /health: { builtin: health }
""",
    "inner.yaml": """
dragoman: 1
name: inner
routes:
  POST /seen:
    respond:
      body:
        signature: ${ $request.headers."x-signature" }
        signer: ${ $request.query.signer }
        body: ${ @ }
""",
}


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    env = {
        "UP": upstream.url,
        "OTHER": upstream.url.replace("127.0.0.1", "localhost"),
        "KEY": KEY,
        "FAILING": FAILING,
    }
    with dragoman_server(MAPPINGS, env, ("--log-level", "debug"), command=COMMAND) as running:
        yield running
        for secret in (KEY, FAILING):
            assert secret not in running.text()


@pytest.fixture(autouse=True)
def _only_signed(upstream: Upstream) -> Iterator[None]:
    """Checks after each test that every request to the upstream had the right signature."""
    upstream.requests.clear()
    yield
    unsigned = [seen for seen in upstream.requests if not is_signed(seen, KEY, SIGNER)]
    assert unsigned == []


@pytest.mark.parametrize(
    ("path", "body"), [("/call?x=1", {"b": [1, "ü"]}), ("/call", "text"), ("/form", {"a": "b c"})]
)
def test_a_call_is_signed(server: Server, upstream: Upstream, path: str, body: object) -> None:
    assert server.post(path, body).status == 200
    (seen,) = upstream.requests
    assert seen.header("x-org") == "acme"
    assert seen.body


def test_a_call_without_a_body_is_signed(server: Server, upstream: Upstream) -> None:
    assert server.get("/plain").status == 200
    (seen,) = upstream.requests
    assert (seen.path, seen.body) == ("/base/plain", b"")


def test_each_of_several_calls_is_signed(server: Server, upstream: Upstream) -> None:
    assert server.post("/each", {"ids": [1, 2, 3, 4]}).json == [200] * 4
    assert sorted(seen.path for seen in upstream.requests) == [f"/each/{number}" for number in (1, 2, 3, 4)]
    assert len({seen.header("x-number") for seen in upstream.requests}) == 4


def test_each_retry_is_signed_again(server: Server, upstream: Upstream) -> None:
    upstream.on("/base/plain", in_turn(complete_response(503), complete_response(503), json_response({})))
    assert server.get("/plain").status == 200
    assert len({seen.header("x-signature") for seen in upstream.requests}) == 3


def test_a_cached_response_does_not_depend_on_the_signature(server: Server, upstream: Upstream) -> None:
    assert [server.get("/cached").status for _ in range(2)] == [200, 200]
    assert len(upstream.requests) == 1


def test_a_call_of_another_mapping_is_signed(server: Server) -> None:
    received = server.post("/inner", {"a": 1}).json
    assert len(received["signature"]) == 64
    assert (received["signer"], received["body"]) == (SIGNER, {"deep": {"a": 1}})


@pytest.mark.parametrize("path", ["/forward/f", "/chosen/f?to=one", "/chosen/f?to=several", "/tried"])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_forwarded_request_is_signed_with_its_body(
    server: Server, upstream: Upstream, path: str, is_chunked: bool
) -> None:
    upstream.on("/base/down", complete_response(500))
    data = os.urandom(300_000)
    fields = {"content-type": "audio/wav"}
    body = data
    if is_chunked:
        fields["transfer-encoding"] = "chunked"
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
    assert server.post(path, body, headers=fields).status == 200
    seen = upstream.requests[-1]
    assert hashlib.sha256(seen.body).digest() == hashlib.sha256(data).digest()
    assert seen.header("content-type") == "audio/wav"


def test_a_clients_signature_is_replaced(server: Server, upstream: Upstream) -> None:
    fields = {"X-Signature": "evil", "X_Signature": "evil", "x_number": "1"}
    assert server.post("/forward/f?signer=evil&a=1&SIGNER=worse", b"x", headers=fields).status == 200
    (seen,) = upstream.requests
    assert seen.query == [("a", "1"), ("signer", SIGNER)]


def test_a_signed_forwarded_body_is_bounded(server: Server, upstream: Upstream) -> None:
    assert server.post("/bounded", b"0123456789").status == 200
    response = server.post("/bounded", b"0123456789+")
    assert (response.status, response.json["kind"]) == (413, "payload_too_large")
    assert len(upstream.requests) == 1


def test_a_health_check_is_signed(server: Server, upstream: Upstream) -> None:
    report = {each["name"]: each for each in server.get("/health").json["upstreams"]}
    assert report["one"]["healthy"]
    assert report["several"]["healthy"]
    assert sorted({seen.path for seen in upstream.requests}) == ["/base/health", "/health"]
    assert len(upstream.requests) == 3


def test_a_signature_repeated_by_an_upstream_is_masked(server: Server, upstream: Upstream) -> None:
    async def repeat(channel: object, seen: object) -> None:
        text = f"bad signature {seen.header('x-signature')} of {KEY}"  # type: ignore[attr-defined]
        await json_response({"error": text}, 422)(channel, seen)  # type: ignore[arg-type]

    upstream.on("/base/plain", repeat)
    response = server.get("/plain")
    assert (response.status, response.json["body"]) == (422, {"error": "bad signature *** of ***"})


@pytest.mark.parametrize(("method", "path"), [("GET", "/failing/call"), ("POST", "/failing/forward")])
def test_without_credentials_nothing_is_sent(
    server: Server, upstream: Upstream, method: str, path: str
) -> None:
    response = server.request(method, path, b"x" if method == "POST" else None)
    assert (response.status, response.json["kind"]) == (500, "internal")
    assert response.json["message"] == "the call cannot be authenticated"
    assert FAILING not in response.text
    line = server.logged(response.header("x-request-id") or "")
    assert line["cause"].startswith("auth of the upstream 'failing': ZeroDivisionError at ")
    assert line["cause"].endswith(" apply")
    assert upstream.requests == []


def test_an_upstream_whose_health_check_cannot_be_authenticated_is_not_healthy(
    server: Server, upstream: Upstream
) -> None:
    report = {each["name"]: each for each in server.get("/health").json["upstreams"]}["failing"]
    assert (report["healthy"], report["error"]) == (False, "the call cannot be authenticated")
    assert not [seen for seen in upstream.requests if seen.path.startswith("/failing")]
