"""For every behaviour of an upstream the client soon receives the right status and body, and no internals."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.times import SOON
from tests.support.upstream import (
    BEHAVIOURS,
    Channel,
    Gated,
    Seen,
    Upstream,
    black_hole,
    eventually,
    in_turn,
    json_response,
    raw,
    refusing,
)

MAPPING = """
dragoman: 1
env: { UP: {}, REFUSING: {}, HOLE: {} }
upstreams:
  up: { url: "${ $env.UP }" }
  keyed: { url: "${ $env.UP }", auth: { bearer: sk-ours } }
  hurried: { url: "${ $env.UP }", timeout: { read: 300ms, total: 600ms } }
  crowd: { url: "${ $env.UP }", connections: 20, timeout: { connect: 3s } }
  refusing: { url: "${ $env.REFUSING }" }
  unknown: { url: "http://unknown.invalid" }
  hole: { url: "${ $env.HOLE }", timeout: { connect: 300ms } }
  tls: { url: "https://localhost:${ split($env.UP, ':')[2] }", timeout: {} }
errors:
  body: { kind: "${ kind }", message: "${ message }", status: "${ status }", name: "${ upstream.name }" }
routes:
  GET /call/{name:path}: { call: "GET up /${ $request.params.name }", respond: { body: "${ @ }" } }
  GET /late/{name:path}: { call: "GET hurried /${ $request.params.name }", respond: { body: "${ @ }" } }
  GET /head/{name}:
    call: "HEAD up /${ $request.params.name }"
    respond: { body: "${ to_string($upstream.status) }" }
  GET /blind/{name}: { call: "GET up /${ $request.params.name }", respond: { body: fixed } }
  GET /crowd: { call: GET crowd /hang/crowd, respond: { body: "${ @ }" } }
  GET /refusing: { call: GET refusing /x, respond: { body: "${ @ }" } }
  GET /unknown: { call: GET unknown /x, respond: { body: "${ @ }" } }
  GET /hole: { call: GET hole /x, respond: { body: "${ @ }" } }
  GET /tls: { call: GET tls /x, respond: { body: "${ @ }" } }
  GET /route-timeout: { timeout: 200ms, call: GET up /hang, respond: { body: "${ @ }" } }
  GET /call-timeout: { call: { upstream: up, path: /drip, timeout: 200ms }, respond: { body: "${ @ }" } }
  GET /keyed/{name}: { call: "GET keyed /${ $request.params.name }", respond: { body: "${ @ }" } }
  GET /cases/{name:path}:
    call: "GET keyed /${ $request.params.name }"
    respond:
      - when: ${ $upstream.status == `404` }
        status: 410
        body: { gone: "${ error.message }" }
      - when: ${ $upstream.status >= `500` }
        status: 503
        body: { shown: "${ @ }" }
      - when: ${ $upstream.status == `401` }
        status: 418
        body: { shown: "${ nullable(@) }" }
      - body: { fine: "${ ok }" }
  GET /shaped/{name}:
    call:
      upstream: up
      path: "/${ $request.params.name }"
      response_schema: { type: object, required: [ok], properties: { ok: { const: true } } }
    respond: { body: "${ @ }" }
  GET /typed/{name}: { call: "GET up /${ $request.params.name }", respond: { body: "${ upper(ok) }" } }
  GET /ordinary: { call: GET up /json, respond: { body: "${ @ }" } }
"""


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with refusing() as closed, black_hole() as hole:
        env = {"UP": upstream.url, "REFUSING": closed, "HOLE": hole}
        with dragoman_server(MAPPING, env) as running:
            yield running


#: The bound of the upstream `crowd`.
CROWD = 20

OK, BROKEN, LATE = (200, None), (502, "upstream_error"), (504, "upstream_timeout")

#: Behaviour → status and kind, for every one of `BEHAVIOURS`.
OUTCOMES: dict[str, tuple[int, str | None]] = {
    **dict.fromkeys(
        ["echo", "json", "until-close", "chunked", "gzip", "slow-head", "slow-body", "informed"], OK
    ),
    **dict.fromkeys(["no-content", "null", "cookie", "text"], OK),
    **dict.fromkeys(["huge-number", "lone-surrogate", "bom", "deep-500"], OK),
    **dict.fromkeys(["html", "half-json", "half-json-short", "half-json-reset", "half-chunk"], BROKEN),
    **dict.fromkeys(["bad-chunk", "empty", "not-modified", "nan", "huge-integer"], BROKEN),
    **dict.fromkeys(["bad-utf8", "deep", "events"], BROKEN),
    **dict.fromkeys(["gzip-broken", "gzip-lie", "gzip-bomb", "close", "close-in-head", "reset"], BROKEN),
    **dict.fromkeys(["garbage", "http-0.9", "http-9", "switching", "status-600", "status-999"], BROKEN),
    **dict.fromkeys(["status-99", "status-text", "two-lengths", "length-negative", "unknown-coding"], BROKEN),
    **dict.fromkeys(["header-huge", "header-nul", "header-name"], BROKEN),
    **dict.fromkeys(["server-error", "huge", "endless"], BROKEN),
    **dict.fromkeys(["half-json-hang", "drip", "drip-head", "hang", "hang-in-head", "hang-in-body"], LATE),
    "informed-for-ever": BROKEN,
    "unauthorized": (401, "unauthorized"),
    "forbidden": (403, "forbidden"),
    "busy": (429, "rate_limited"),
    "overloaded": (503, "upstream_unavailable"),
    **{
        f"status/{status}": BROKEN
        for status in (300, 301, 302, 307, 402, 405, 409, 418, 451, 500, 501, 502, 504, 599)
    },
    "status/201": OK,
    "status/400": (400, "invalid_request"),
    "status/404": (404, "not_found"),
    "status/413": (413, "payload_too_large"),
    "status/422": (422, "unprocessable"),
}


def test_every_behaviour_has_an_outcome() -> None:
    assert set(BEHAVIOURS) <= set(OUTCOMES)


def test_every_behaviour_has_the_right_response_soon(server: Server) -> None:
    def call(name: str) -> tuple[str, int, str | None, bool]:
        response = server.get(f"/{'late' if OUTCOMES[name] == LATE else 'call'}/{name}")
        kind = response.json["kind"] if response.status != 200 and response.status != 201 else None
        soon = response.seconds < SOON
        if kind is not None:
            assert response.json["status"] == response.status
            assert response.json["name"] == ("hurried" if OUTCOMES[name] == LATE else "up")
            for internal in ("Traceback", "internal.example", "canary", "127.0.0.1", "httpx", "Error("):
                assert internal not in f"{response.headers}{response.text}", name
        return name, response.status, kind, soon

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(call, OUTCOMES))
    assert found == [(name, *outcome, True) for name, outcome in OUTCOMES.items()]
    assert server.get("/ordinary").json == {"ok": True}


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/refusing", 502, "upstream_error"),
        ("/unknown", 502, "upstream_error"),
        ("/tls", 502, "upstream_error"),
        ("/hole", 504, "upstream_timeout"),
        ("/route-timeout", 504, "upstream_timeout"),
        ("/call-timeout", 504, "upstream_timeout"),
    ],
)
def test_no_response_at_all(server: Server, path: str, status: int, kind: str) -> None:
    response = server.get(path)
    assert (response.status, response.json["kind"]) == (status, kind)
    assert response.seconds < SOON
    line = server.logged(response.header("x-request-id") or "")
    assert line["cause"]
    assert line["level"] == "error"


@pytest.mark.parametrize(("name", "value"), [("busy", "7"), ("overloaded", "9"), ("server-error", None)])
def test_retry_after_is_passed_on(server: Server, name: str, value: str | None) -> None:
    assert server.get(f"/call/{name}").header("retry-after") == value


@pytest.mark.parametrize("value", ["Wed, 21 Oct 2026 07:28:00 GMT", "120"])
def test_retry_after_of_each_form(server: Server, upstream: Upstream, value: str) -> None:
    upstream.on("/retry", json_response({}, 429, [("retry-after", value)]))
    assert server.get("/call/retry").header("retry-after") == value


@pytest.mark.parametrize("name", ["unauthorized", "forbidden"])
def test_texts_about_our_credentials_are_hidden(server: Server, name: str) -> None:
    for path in ("keyed", "cases"):
        response = server.get(f"/{path}/{name}")
        assert "canary" not in f"{response.headers}{response.text}"
        assert response.header("www-authenticate") is None
    assert "sk-upstream-canary" not in server.text()


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("json", 200, {"fine": True}),
        ("status/404", 410, {"gone": "upstream error 404"}),
        ("status/500", 503, {"shown": {"error": {"message": "upstream error 500"}}}),
        ("server-error", 503, {"shown": "<h1>Traceback: internal.example</h1>"}),
        ("unauthorized", 418, {"shown": None}),
        ("status/429", 429, None),
        ("html", 502, None),
    ],
)
def test_cases_for_errors(server: Server, name: str, status: int, body: object) -> None:
    response = server.get(f"/cases/{name}")
    assert response.status == status
    assert body is None or response.json == body


@pytest.mark.parametrize(
    ("path", "status"),
    [("/shaped/json", 200), ("/shaped/null", 502), ("/shaped/empty", 502), ("/shaped/no-content", 502),
     ("/shaped/echo", 502), ("/typed/json", 502), ("/typed/echo", 200), ("/blind/html", 200),
     ("/blind/empty", 200), ("/head/json", 200), ("/head/empty", 200)],
)  # fmt: skip
def test_responses_of_an_unexpected_shape(server: Server, path: str, status: int) -> None:
    assert server.get(path).status == status


def test_an_upstream_that_recovers(server: Server, upstream: Upstream) -> None:
    upstream.on(
        "/moody",
        in_turn(raw(b"", "reset"), json_response({"a": 1}, 500), raw(b"", "close"), json_response({"ok": 1})),
    )
    assert server.get("/ordinary").status == 200, "there is a connection to be used again"
    # A connection that closes without a response is replaced, and a repeatable call is sent once more.
    assert [server.get("/call/moody").status for _ in range(3)] == [502, 200, 200]
    assert len([seen for seen in upstream.requests if seen.path == "/moody"]) == 5


def test_a_connection_closed_while_idle_is_not_used_again(server: Server, upstream: Upstream) -> None:
    async def once(channel: Channel, seen: Seen) -> None:
        channel.keep_alive = False
        await json_response({"ok": True})(channel, seen)

    upstream.on("/once", once)
    for _ in range(30):
        assert server.get("/call/once").status == 200
        time.sleep(0.002)


def test_many_slow_calls_do_not_block_others(server: Server, upstream: Upstream) -> None:
    gated = Gated(json_response({"ok": True}))
    upstream.on("/slow", gated)
    with ThreadPoolExecutor(24) as pool, gated:
        waiting = [pool.submit(server.get, "/call/slow") for _ in range(20)]
        assert eventually(lambda: gated.here == 20)
        assert server.get("/ordinary").status == 200
        assert not any(each.done() for each in waiting)
        gated.release()
        assert {each.result().status for each in waiting} == {200}


def test_more_calls_than_connections_receive_retry_after(server: Server, upstream: Upstream) -> None:
    upstream.on("/hang/crowd", raw(b"", "hang"))
    with contextlib.ExitStack() as stack:
        for number in range(CROWD):
            client = stack.enter_context(server.connect())
            client.sendall(b"GET /crowd HTTP/1.1\r\nhost: x\r\nx-request-id: crowd\r\n\r\n")
            if number % 20 == 19:
                assert upstream.eventually(lambda up: len(up.seen("crowd")) > number)  # noqa: B023
        response = server.get("/crowd")
        assert (response.status, response.json["kind"]) == (503, "upstream_unavailable")
        assert response.header("retry-after") == "1"
        assert server.get("/ordinary").status == 200
    assert eventually(lambda: server.get("/ordinary").status == 200)
