"""Which route a request reaches, how a miss is reported, and that no path leaves an upstream's base."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from urllib.parse import unquote

import pytest

from tests.support.applications import SERVERS, served_by
from tests.support.server import Server, dragoman_server
from tests.support.times import SOON
from tests.support.upstream import Upstream

MAPPINGS = {
    "first.yaml": """
    dragoman: 1
    name: first
    env: { UP: {} }
    upstreams: { up: { url: "${ $env.UP }/base" }, bare: { url: "${ $env.UP }" } }
    errors: { body: { first: "${ kind }", status: "${ status }" } }
    routes:
      GET /: { respond: { body: { route: root } } }
      GET /v1/models: { respond: { body: { route: list } } }
      POST /v1/models: { respond: { body: { route: make } } }
      GET /v1/models/special: { respond: { body: { route: literal } } }
      GET /v1/models/{m}: { respond: { body: { route: parameter, m: "${ $request.params.m }" } } }
      DELETE /v1/models/{m}: { respond: { body: { route: delete, m: "${ $request.params.m }" } } }
      GET /v1/models/{m:path}: { respond: { body: { route: rest, m: "${ $request.params.m }" } } }
      GET /v1/models/{m:path}/health: { respond: { body: { route: health, m: "${ $request.params.m }" } } }
      GET /v1/engines/{e}: { respond: { body: { route: engine } } }
      GET /café%2Bc: { respond: { body: { route: quoted } } }
      OPTIONS /options: { respond: { body: { route: options } } }
      GET /one/{name}: { call: "GET up /in/${ $request.params.name }/end", respond: { body: "${ target }" } }
      GET /all/{name:path}: { call: "GET up /in/${ $request.params.name }", respond: { body: "${ target }" } }
      GET /bare/{name:path}: { call: "GET bare /${ $request.params.name }", respond: { body: "${ target }" } }
    """,
    "second.yaml": """
    dragoman: 1
    name: second
    prefix: /second
    errors: { body: { second: "${ kind }" } }
    routes:
      GET /: { respond: { body: { route: second-root } } }
      GET /things/{id}: { respond: { body: { route: thing, id: "${ $request.params.id }" } } }
    """,
    "third.yaml": """
    dragoman: 1
    name: third
    errors: { body: { third: "${ kind }" } }
    routes:
      GET /v1/engines: { respond: { body: { route: engines } } }
      PUT /v1/models: { respond: { body: { route: put } } }
    """,
}


#: Starlette's `Mount` has no path with a line break.
UNMOUNTED = [name for name in SERVERS if name != "mounted"]


@pytest.fixture(scope="module", params=UNMOUNTED)
def server(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[Server]:
    with served_by(request.param, MAPPINGS, {"UP": upstream.url}) as running:
        yield running
        assert running.get("/").seconds < SOON


FOUND = [
    ("GET", "/", "root", None),
    ("GET", "/?x=1", "root", None),
    ("GET", "/v1/models", "list", None),
    ("POST", "/v1/models", "make", None),
    ("PUT", "/v1/models", "put", None),
    ("GET", "/v1/models/special", "literal", None),
    ("GET", "/v1/models/special2", "parameter", "special2"),
    ("GET", "/v1/models/llama3:8b", "parameter", "llama3:8b"),
    ("DELETE", "/v1/models/special", "delete", "special"),
    ("GET", "/v1/models/a/b", "rest", "a/b"),
    ("GET", "/v1/models/a//b", "rest", "a//b"),
    ("GET", "/v1/models/a/b/", "rest", "a/b/"),
    ("GET", "/v1/models/org/name/health", "health", "org/name"),
    ("GET", "/v1/models/x/health", "health", "x"),
    ("GET", "/v1/models/health/health", "health", "health"),
    ("GET", "/v1/models/health", "parameter", "health"),
    ("GET", "/v1/models/special/health", "health", "special"),
    ("GET", "/v1/models/a%2Fb", "parameter", "a/b"),
    ("GET", "/v1/models/a%2fhealth", "parameter", "a/health"),
    ("GET", "/v1/models/%E6%A8%A1%E5%9E%8B", "parameter", "模型"),
    ("GET", "/v1/models/%F0%9F%A6%99/x", "rest", "🦙/x"),
    ("GET", "/v1/models/a%20b+c", "parameter", "a b+c"),
    ("GET", "/v1/models/a%0Ab%00c", "parameter", "a\nb\0c"),
    ("GET", "/v1/models/%25", "parameter", "%"),
    ("GET", "/v1/models/100%", "parameter", "100%"),
    ("GET", "/v1/mod%65ls", "list", None),
    ("GET", "/v1/models/spec%69al", "literal", None),
    ("GET", "/caf%C3%A9%2Bc", "quoted", None),
    ("GET", "/caf%c3%a9+c", "quoted", None),
    ("OPTIONS", "/options", "options", None),
    ("GET", "/second/", "second-root", None),
    ("GET", "/second/things/7", "thing", None),
]


@pytest.mark.parametrize(("method", "target", "route", "value"), FOUND)
def test_a_path_reaches_its_route(server: Server, method: str, target: str, route: str, value: str) -> None:
    response = server.request(method, target)
    assert (response.status, response.json["route"]) == (200, route)
    assert value is None or response.json["m"] == value


MISSED = [
    ("GET", "/v1", 404, {"first": "not_found", "status": 404}),
    ("GET", "/v2/models", 404, {"first": "not_found", "status": 404}),
    ("GET", "/v1/models/", 404, {"first": "not_found", "status": 404}),
    ("GET", "/V1/models", 404, {"first": "not_found", "status": 404}),
    ("GET", "//v1/models", 404, {"first": "not_found", "status": 404}),
    ("GET", "/v1/./models", 404, {"first": "not_found", "status": 404}),
    ("GET", "/v1%2Fmodels", 404, {"first": "not_found", "status": 404}),
    ("OPTIONS", "*", 404, {"first": "not_found", "status": 404}),
    ("GET", "/second", 404, {"second": "not_found"}),
    ("GET", "/second/unknown", 404, {"second": "not_found"}),
    ("GET", "/second/things", 404, {"second": "not_found"}),
    ("GET", "/second/things/", 404, {"second": "not_found"}),
    ("GET", "/second/things/1/2", 404, {"second": "not_found"}),
    ("GET", "/second/a%0Ab", 404, {"second": "not_found"}),
    ("GET", "/v1/models/%ff", 400, {"first": "invalid_request", "status": 400}),
    ("GET", "/v1/models/%c0%ae%c0%ae/x", 400, {"first": "invalid_request", "status": 400}),
    ("GET", "/v1/models/%ed%a0%80", 400, {"first": "invalid_request", "status": 400}),
    ("GET", "/second/things/%80", 400, {"second": "invalid_request"}),
]


@pytest.mark.parametrize(("method", "target", "status", "body"), MISSED)
def test_a_miss_has_the_error_format_of_its_mapping(
    server: Server, method: str, target: str, status: int, body: dict[str, object]
) -> None:
    response = server.request(method, target)
    assert (response.status, response.json) == (status, body)
    assert response.header("content-type") == "application/json"


REFUSED = [
    ("PATCH", "/v1/models", "GET, HEAD, POST, PUT", {"first": "method_not_allowed", "status": 405}),
    ("OPTIONS", "/v1/models", "GET, HEAD, POST, PUT", {"first": "method_not_allowed", "status": 405}),
    ("POST", "/v1/models/special", "DELETE, GET, HEAD", {"first": "method_not_allowed", "status": 405}),
    ("POST", "/v1/models/x", "DELETE, GET, HEAD", {"first": "method_not_allowed", "status": 405}),
    ("GET", "/options", "OPTIONS", {"first": "method_not_allowed", "status": 405}),
    ("HEAD", "/options", "OPTIONS", None),
    ("TRACE", "/", "GET, HEAD", {"first": "method_not_allowed", "status": 405}),
    ("PROPFIND", "/", "GET, HEAD", {"first": "method_not_allowed", "status": 405}),
    ("POST", "/second/things/1", "GET, HEAD", {"second": "method_not_allowed"}),
    ("POST", "/v1/engines", "GET, HEAD", {"third": "method_not_allowed"}),
    ("POST", "/v1/engines/e", "GET, HEAD", {"first": "method_not_allowed", "status": 405}),
]


@pytest.mark.parametrize(("method", "target", "allow", "body"), REFUSED)
def test_a_method_that_a_path_does_not_have(
    server: Server, method: str, target: str, allow: str, body: dict[str, object] | None
) -> None:
    response = server.request(method, target)
    assert (response.status, response.header("allow")) == (405, allow)
    assert body is None or response.json == body


def test_head_is_get_without_a_body(server: Server) -> None:
    whole, bare = server.get("/v1/models"), server.request("HEAD", "/v1/models")
    assert (bare.status, bare.body) == (200, b"")
    for name in ("content-length", "content-type"):
        assert bare.header(name) == whole.header(name)
    missed = server.request("HEAD", "/nowhere")
    assert (missed.status, missed.body) == (404, b"")
    assert missed.header("content-length") == str(len(server.get("/nowhere").body))


#: Dot segments and slashes, as attackers write them.
ESCAPES = [
    "..", ".", "../", "../admin", "a/../../admin", "./admin", "%2e%2e", "%2e%2e/admin", "%2E%2E%2Fadmin",
    ".%2e/admin", "%2e./admin", "..%2fadmin", "..%2Fadmin", "..%5cadmin", "..\\admin", "%2e%2e%5cadmin",
    "%252e%252e/admin", "%252e%252e%252fadmin", "..%252fadmin", "%25%32%65%25%32%65/admin",
    "..;/admin", "..%3b/admin", "..%3B%2Fadmin", "a%2f..%2f..%2fadmin", "a/%2e%2e/%2e%2e/%2e%2e/admin",
    "%2f..%2f..%2fadmin", "/../admin", "/admin", "%2fadmin", "%2f%2fevil.example/admin",
    "//evil.example/admin", "\\\\evil.example/admin", "http:%2f%2fevil.example", "@evil.example/admin",
]  # fmt: skip


@pytest.mark.parametrize("prefix", ["/one/", "/all/", "/bare/"])
def test_no_path_leaves_the_base(server: Server, upstream: Upstream, prefix: str) -> None:
    for escape in ESCAPES:
        request_id = uuid.uuid4().hex
        response = server.get(prefix + escape, headers={"x-request-id": request_id})
        assert response.status in (200, 400, 404), (escape, response)
        calls = upstream.seen(request_id)
        assert len(calls) == (response.status == 200), escape
        for call in calls:
            assert _stays(call.target, "/" if prefix == "/bare/" else "/base/in/"), (escape, call.target)
    assert server.get("/").seconds < SOON


def _stays(target: str, base: str) -> bool:
    """Whether a path is below its base however often it is decoded, whatever the server treats as a slash."""
    for _ in range(3):
        path = target.replace("\\", "/")
        segments = [re.split(r"[;\0]", segment)[0].strip() for segment in path.split("/")]
        if not path.startswith(base) or path.startswith("//") or "." in segments or ".." in segments:
            return False
        target = unquote(target)
    return True


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("/one/a%2Fb", "/base/in/a%2Fb/end"),
        ("/one/a%3Fb%23c%26d", "/base/in/a%3Fb%23c%26d/end"),
        ("/one/gr%C3%BC%C3%9Fe", "/base/in/gr%C3%BC%C3%9Fe/end"),
        ("/one/a;b=c,d", "/base/in/a%3Bb%3Dc%2Cd/end"),
        ("/one/v1.2..3", "/base/in/v1.2..3/end"),
        ("/one/...", "/base/in/.../end"),
        ("/all/a/b%2Fc/d", "/base/in/a/b%2Fc/d"),
        ("/all/models/llama3.1:8b", "/base/in/models/llama3.1:8b"),
        ("/bare/x/y?q=1", "/x/y"),
    ],
)
def test_values_in_a_path_are_encoded(server: Server, target: str, seen: str) -> None:
    response = server.get(target)
    assert (response.status, response.text) == (200, seen)


def test_a_path_of_many_segments_is_cheap(server: Server) -> None:
    response = server.get("/v1/models" + "/a" * 4_000 + "/x")
    assert response.json["route"] == "rest"
    assert response.seconds < SOON


GUARDED = """
dragoman: 1
env: { UP: {} }
auth: { bearer: key }
upstreams: { up: { url: "${ $env.UP }" } }
errors: { body: { kind: "${ kind }" } }
routes:
  GET /files/{p:path}: { auth: none, forward: "up /files/${ $request.params.p }" }
  GET /files/private/report: { forward: "up /files/private/report" }
  GET /files/blocked: { auth: none, respond: { status: 451, body: blocked } }
  GET /items/{id}:
    auth: none
    call: GET up /items/${ $request.params.id }
    respond: { body: "${ target }" }
  GET /items/all: { call: GET up /items/all, respond: { body: "${ target }" } }
  GET /a%2Fb: { auth: none, respond: { body: encoded } }
  GET /c/d: { auth: none, respond: { body: plain } }
"""


@pytest.fixture(scope="module")
def guarded(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(GUARDED, {"UP": upstream.url}) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/files/private/report", 401),
        ("/files/private%2freport", 400),
        ("/files/private%2Freport", 400),
        ("/files//private/report", 400),
        ("//files/private/report", 404),
        ("/files/private//report", 400),
        ("/files/private/report%2f", 400),
        ("/files/private/report/", 400),
        ("/files/private/report%00", 400),
        ("/files/private/./report", 400),
        ("/files/x/../private/report", 400),
        ("/files/private%5creport", 400),
        ("/files/private%252freport", 400),
        ("/files/privat%65/report", 401),
        ("/files/blocked", 451),
        ("/files//blocked", 400),
        ("/files/blocked%2f", 400),
        ("/items/all", 401),
        ("/items/all%2f", 400),
        ("/items/all;x", 400),
        ("/items/%61ll", 401),
        ("/a%2Fb", 200),
        ("/a%2fb", 200),
        ("/a/b", 404),
        ("/c/d", 200),
        ("/c%2Fd", 404),
        ("/c//d", 404),
    ],
)
def test_a_guarded_route_is_not_bypassed(guarded: Server, upstream: Upstream, path: str, status: int) -> None:
    request_id = uuid.uuid4().hex
    response = guarded.get(path, headers={"x-request-id": request_id})
    assert response.status == status, response
    assert upstream.seen(request_id) == []


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/files/public/report", "/files/public/report"),
        ("/files/a%2Fb", "/files/a%2Fb"),
        ("/files/a//b", "/files/a//b"),
        ("/items/org%2Fname", "/items/org%2Fname"),
        ("/items/a%00b", "/items/a%00b"),
    ],
)
def test_open_routes_stay_open(guarded: Server, upstream: Upstream, path: str, target: str) -> None:
    request_id = uuid.uuid4().hex
    assert guarded.get(path, headers={"x-request-id": request_id}).status == 200
    assert [seen.target for seen in upstream.seen(request_id)] == [target]
