"""Attribution of calls that cannot be made or are refused: to the client (4xx) or an upstream (502).

A value that an upstream returned may be invalid in the next call. The log then reports the template of the
mapping that used it, and neither the log nor the response contains the value.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import Response, Server, dragoman_server
from tests.support.upstream import Upstream, complete_response, json_response

MAPPING = """\
dragoman: 1
env: { UP: {}, KEY: { secret: true }, EMPTY: { secret: true } }
upstreams:
  up: { url: "${ $env.UP }" }
  keyed: { url: "${ $env.UP }", auth: { bearer: "${ $env.KEY }" } }
  unkeyed: { url: "${ $env.UP }", auth: { bearer: "${ $env.EMPTY }" } }
  named: { url: "${ $env.UP }", headers: { x-api-key: abc } }
  secret: { url: "${ $env.UP }", headers: { x-tenant: "t-${ $env.KEY }" } }
errors: { body: { kind: "${ kind }", message: "${ message }", upstream: "${ upstream.body }" } }
routes:
  POST /path:
    calls:
      a: GET up /value
      b: GET up /in/${ $calls.a.body.v }/${ v }
    respond: { body: ok }
  POST /parallel:
    calls: { a: GET up /value }
    call: GET up /in/x-${ $calls.a.body.v }
    respond: { body: ok }
  POST /header:
    calls:
      a: GET up /value
      b: { upstream: up, path: /in, headers: { x-own: "${ v }", x-theirs: "${ $calls.a.body.v }" } }
    respond: { body: ok }
  POST /body:
    calls:
      a: GET up /value
      b: { upstream: up, path: /in, method: POST, body: { t: "${ upper($calls.a.body.v) }" } }
    respond: { body: ok }
  POST /mixed:
    calls:
      a: GET up /value
      b:
        upstream: up
        path: /in
        body: { t: "${ upper($calls.a.body.v) }", o: "${ lower(v) }" }
    respond: { body: ok }
  POST /items:
    calls:
      a: GET up /value
      b: { each: "${ $calls.a.body.items }", upstream: up, path: "/in/${ id }" }
    respond: { body: ok }
  POST /own-items:
    calls:
      a: GET up /value
      b: { each: "${ items }", upstream: up, path: "/in/${ id }" }
    respond: { body: ok }
  POST /when:
    calls:
      a: GET up /value
      b: { when: "${ starts_with($calls.a.body.v, 'a') }", upstream: up, path: /in }
    respond: { body: ok }
  POST /choice:
    calls:
      a: GET up /value
      b: { upstream: "${ $calls.a.body.v }", path: /in }
    respond: { body: ok }
  POST /refused:
    calls:
      a: GET up /value
      b: { upstream: up, path: /in, query: { q: "${ fail('invalid_request', $calls.a.body.v) }" } }
    respond: { body: ok }
  GET /status/{upstream}/{name}:
    call: { upstream: "${ $request.params.upstream }", path: "/${ $request.params.name }" }
    respond: { body: ok }
  GET /cases/{upstream}/{name}:
    call: { upstream: "${ $request.params.upstream }", path: "/${ $request.params.name }" }
    respond:
      - { when: "${ $upstream.status == `401` }", status: 418, body: { shown: "${ nullable(@) }" } }
      - { body: ok }
  GET /sends/{name}:
    call:
      upstream: up
      path: /${ $request.params.name }
      query: { q: "${ $env.KEY }" }
    respond: { body: ok }
  GET /token/{name}:
    calls: { login: GET up /value }
    call:
      upstream: up
      path: /${ $request.params.name }
      headers: { authorization: "Bearer ${ $calls.login.body.v }" }
    respond: { body: ok }
  GET /clients/{name}:
    call:
      upstream: up
      path: /${ $request.params.name }
      headers: { authorization: "${ $request.headers.authorization }" }
    respond: { body: ok }
"""
LINES = MAPPING.splitlines()
CANARY = "value-canary"

_NEEDED = "where text is needed"
OWN_NULL = f"the call 'b': a value for the path, 'v', is null, {_NEEDED}"
OWN_OBJECT = f"the call 'b': a value for the path, 'v', is object, {_NEEDED}"
NULL, EMPTY = (f"the call 'b': a value for the path is {what}, {_NEEDED}" for what in ("null", "empty"))
ARRAY = f"the call 'b': a value for the path is array, {_NEEDED}"
DOTS = "the call 'b': a value in the path is '.', '..' or an empty segment"
LONG = "the call 'b': the values for the path are too long"
THEIRS, OWN = (f"the call 'b': invalid value for the header '{name}'" for name in ("x-theirs", "x-own"))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        running.on("/in", json_response({}))
        yield running


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url, "KEY": "key-canary"}) as running:
        yield running


def line_of(text: str, start: str) -> int:
    """Returns the line of a text in the route that begins with `start`."""
    first = LINES.index(f"  POST {start}:")
    return next(number for number in range(first, len(LINES)) if text in LINES[number]) + 1


def send_value(
    server: Server, upstream: Upstream, path: str, body: Any, value: Any
) -> tuple[Response, dict[str, Any]]:
    request_id = uuid.uuid4().hex
    upstream.on("/value", json_response(value))
    response = server.post(path, body, headers={"x-request-id": request_id})
    assert CANARY not in response.text
    assert CANARY not in server.text()
    return response, server.logged(request_id)


@pytest.mark.parametrize(
    ("path", "body", "value", "status", "message", "template"),
    [
        ("/path", {"v": "x"}, {}, 502, NULL, "${ $calls.a"),
        ("/path", {"v": "x"}, {"v": ""}, 502, EMPTY, "${ $calls.a"),
        ("/path", {"v": "x"}, {"v": [CANARY]}, 502, ARRAY, "${ $calls.a"),
        ("/path", {"v": "x"}, {"v": ".."}, 502, DOTS, "${ $calls.a"),
        ("/path", {"v": "x"}, {"v": CANARY * 900}, 502, LONG, "${ $calls.a"),
        ("/path", {}, {"v": "x"}, 400, OWN_NULL, "${ v }"),
        ("/path", {"v": {"a": CANARY}}, {"v": "x"}, 400, OWN_OBJECT, "${ v }"),
        ("/path", {"v": ".."}, {"v": "x"}, 400, DOTS, "${ v }"),
        ("/path", {"v": CANARY * 900}, {"v": "x"}, 400, LONG, "${ v }"),
        ("/parallel", {}, {}, 502, "a value for the path is null, where text is needed", "${ $calls.a"),
        ("/header", {"v": "x"}, {"v": CANARY + "\r\nx: y"}, 502, THEIRS, "{ x-own"),
        ("/header", {"v": CANARY + "\n"}, {"v": "x"}, 400, OWN, "{ x-own"),
        ("/body", {}, {"v": [CANARY]}, 502, None, "${ upper"),
        ("/mixed", {"v": "x"}, {"v": 1}, 502, None, "${ upper"),
        ("/mixed", {"v": 1}, {"v": "x"}, 400, None, "${ lower"),
        ("/items", {}, {"items": [{"id": 1}, {}]}, 502, NULL, "${ id }"),
        ("/items", {}, {"items": [{}] * 1001}, 502, "the call 'b': 'each' has more than 1000 items", None),
        ("/own-items", {"items": [{}]}, {}, 400, NULL, "${ id }"),
        ("/when", {}, {"v": 1}, 502, None, "${ starts_with"),
        ("/choice", {}, {"v": CANARY}, 502, "the call 'b': no upstream serves this request", "${ $calls.a"),
        ("/refused", {}, {"v": "the author's message"}, 400, "the call 'b': the author's message", None),
    ],
)  # fmt: skip
def test_an_invalid_value_of_a_call(
    server: Server,
    upstream: Upstream,
    path: str,
    body: Any,
    value: Any,
    status: int,
    message: str | None,
    template: str | None,
) -> None:
    response, line = send_value(server, upstream, path, body, value)
    assert response.status == status, response.text
    assert response.json["kind"] == ("upstream_error" if status == 502 else "invalid_request")
    if message is not None:
        assert response.json["message"] == message
    if template is not None:
        assert f"mapping.yaml:{line_of(template, path)}:" in line["cause"]


@pytest.mark.parametrize(
    ("path", "body", "value", "written"),
    [
        ("/path", {}, {"v": "x"}, "${ v }"),
        ("/path", {"v": "x"}, {}, "${ $calls.a.body.v }"),
        ("/items", {}, {"items": [{}]}, "${ id }"),
    ],
)
def test_the_log_has_the_expression_of_an_invalid_value_in_a_path(
    server: Server, upstream: Upstream, path: str, body: Any, value: Any, written: str
) -> None:
    _, line = send_value(server, upstream, path, body, value)
    location, _, why = line["cause"].partition(": ")
    assert f":{line_of(written, path)}:" in location
    assert why == f"the value of {written} in the path is null, where text is needed"


def test_an_unknown_upstream_is_logged_without_its_name(server: Server, upstream: Upstream) -> None:
    _, line = send_value(server, upstream, "/choice", {}, {"v": CANARY})
    assert line["cause"].endswith(": does not name an upstream")


# --- 401 and 403 -----------------------------------------------------------------------------------------


CHALLENGE = 'Bearer realm="theirs"'


@pytest.fixture
def refusing(upstream: Upstream) -> None:
    for status, name in ((401, "unauthorized"), (403, "forbidden")):
        behaviour = json_response(
            {"error": {"message": f"theirs {status}"}}, status, [("www-authenticate", CHALLENGE)]
        )
        upstream.on(f"/in-{name}", behaviour)
    upstream.on("/value", json_response({"v": "token"}))


@pytest.mark.parametrize("path", ["/status/up", "/status/unkeyed", "/clients"])
@pytest.mark.parametrize(("status", "kind"), [(401, "unauthorized"), (403, "forbidden")])
@pytest.mark.usefixtures("refusing")
def test_a_refusal_without_our_credentials_is_passed_on(
    server: Server, path: str, status: int, kind: str
) -> None:
    response = server.get(f"{path}/in-{kind}", headers={"authorization": "Bearer clients"})
    assert (response.status, response.json["kind"]) == (status, kind)
    assert response.json["upstream"] == {"error": {"message": f"theirs {status}"}}
    assert response.header("www-authenticate") == (CHALLENGE if status == 401 else None)


@pytest.mark.parametrize("path", ["/status/keyed", "/status/named", "/status/secret", "/sends", "/token"])
@pytest.mark.parametrize("kind", ["unauthorized", "forbidden"])
@pytest.mark.usefixtures("refusing")
def test_a_refusal_of_our_credentials_is_a_bad_gateway(server: Server, path: str, kind: str) -> None:
    response = server.get(f"{path}/in-{kind}", headers={"authorization": "Bearer clients"})
    assert (response.status, response.json["kind"]) == (502, "upstream_error")
    assert "theirs 40" not in f"{response.text}{response.headers}"
    assert "theirs 40" not in server.text()


@pytest.mark.usefixtures("refusing")
def test_a_case_for_401(server: Server) -> None:
    shown = server.get("/cases/up/in-unauthorized")
    assert (shown.status, shown.json) == (418, {"shown": {"error": {"message": "theirs 401"}}})
    hidden = server.get("/cases/keyed/in-unauthorized")
    assert (hidden.status, hidden.json) == (418, {"shown": None})


# --- Text ------------------------------------------------------------------------------------------------


TEXTS = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
errors: { body: { kind: "${ kind }", message: "${ message }" } }
routes:
  POST /send:
    call:
      upstream: up
      path: /echo
      headers: { content-type: "${ type }" }
      body: ${ body }
    respond: { body: { type: '${ headers."content-type" }', body: "${ body }" } }
  GET /read: { call: GET up /read, respond: { body: { got: "${ @ }", type: "${ type(@) }" } } }
  GET /object:
    call: { upstream: up, path: /read, response_schema: { type: object } }
    respond: { body: { got: "${ @ }" } }
  GET /calls:
    calls: { a: GET up /read }
    call: GET up /echo
    respond: { body: { got: "${ $calls.a.body }" } }
"""


@pytest.fixture(scope="module")
def texts(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(TEXTS, {"UP": upstream.url}) as running:
        yield running


@pytest.mark.parametrize(
    ("media_type", "body", "sent"),
    [
        ("text/plain", "größe\n", "größe\n"),
        ("text/csv; header=present", "a,b\r\n1,2", "a,b\r\n1,2"),
        ("application/x-ndjson", '{"a":1}\n{"a":2}\n', '{"a":1}\n{"a":2}\n'),
        ("application/xml", "<a/>", "<a/>"),
        ("application/json", "text", '"text"'),
        ("Application/Problem+JSON; charset=utf-8", "text", '"text"'),
        (None, "text", '"text"'),
        ("text/plain", {"a": 1}, '{"a":1}'),
        ("text/plain", "", ""),
    ],
)
def test_a_text_body_of_a_call(texts: Server, media_type: str | None, body: Any, sent: str) -> None:
    response = texts.post("/send", {"type": media_type, "body": body})
    assert response.json == {"type": media_type or "application/json", "body": sent}


@pytest.mark.parametrize(
    ("media_type", "body", "got"),
    [
        ("text/plain", b"Ollama is running", "Ollama is running"),
        ("text/plain; charset=utf-8", "größe".encode(), "größe"),
        ("text/plain; charset=ISO-8859-1", "größe".encode("latin-1"), "größe"),
        ("text/plain", b"\xffx", "\ufffdx"),
        ("text/csv", b"1", "1"),
        ("text/plain", b"true", "true"),
        ("text/plain", b'"quoted"', '"quoted"'),
        ("text/plain", b"", ""),
        ("text/plain", b'{"a": 1}', {"a": 1}),
        ("text/plain", b"[1]", [1]),
        ("text/plain", b"{a: 1}", "{a: 1}"),
        ("application/json", b"true", True),
        ("", b"true", True),
    ],
)  # fmt: skip
def test_the_text_of_a_successful_response_can_be_read(
    texts: Server, upstream: Upstream, media_type: str, body: bytes, got: Any
) -> None:
    upstream.on("/read", complete_response(200, body, media_type))
    response = texts.get("/read")
    assert (response.status, response.json["got"]) == (200, got)
    assert texts.get("/calls").json == {"got": got}
    assert texts.get("/object").status == (200 if isinstance(got, dict) else 502)


@pytest.mark.parametrize(
    "media_type",
    [
        *("application/json", "application/vnd.x+json", "text/json", "application/octet-stream", ""),
        *("text/event-stream", "Text/HTML; charset=utf-8"),
    ],
)
def test_a_body_not_declared_as_text_must_be_json(texts: Server, upstream: Upstream, media_type: str) -> None:
    upstream.on("/read", complete_response(200, b"oops", media_type))
    for path in ("/read", "/object", "/calls"):
        response = texts.get(path)
        assert (response.status, response.json["kind"]) == (502, "upstream_error")
