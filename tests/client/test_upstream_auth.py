"""Credentials for upstreams: sent as the scheme specifies, and never shown anywhere else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.upstream import BEHAVIOURS, Upstream

CANARIES = {
    "BEARER": "canary-bearer-1a",
    "HEADER": "canary-header-2b",
    "PASSWORD": "canary-password-3c:/@",
    "USERNAME": "ann-canary",
    "QUERY": "canary query&4d=",
    "KEYS": "canary-client-5e",
}
SCHEMES = {
    "bearer": 'auth: { bearer: "${ $env.BEARER }" }',
    "header": 'auth: { header: { name: X-Api-Key, value: "${ $env.HEADER }" } }',
    "basic": 'auth: { basic: { username: "${ $env.USERNAME }", password: "${ $env.PASSWORD }" } }',
    "query": 'auth: { query: { name: key, value: "${ $env.QUERY }" } }',
}
UPSTREAMS = "\n".join(f'  {name}: {{ url: "${{ $env.UP }}/base", {auth} }}' for name, auth in SCHEMES.items())
ROUTES = "\n".join(
    f"""
  GET /{name}/{{rest:path}}:
    call: {{ upstream: {name}, path: "/${{ $request.params.rest }}", query: "${{ $request.query }}" }}
    respond: {{ body: "${{ @ }}" }}"""
    for name in [*SCHEMES, "userinfo"]
)
MAPPING = f"""
dragoman: 1
env: {{ UP: {{}}, USERINFO: {{ secret: true }}, {", ".join(f"{n}: {{ secret: true }}" for n in CANARIES)} }}
auth: {{ bearer: "${{ $env.KEYS }}" }}
errors:
  body: {{ $spread: "${{ @ }}" }}
upstreams:
{UPSTREAMS}
  userinfo: {{ url: "${{ $env.USERINFO }}/base" }}
  slow: {{ url: "${{ $env.UP }}", timeout: {{ read: 200ms, total: 300ms }}, {SCHEMES["query"]} }}
  nowhere: {{ url: "http://127.0.0.1:1", {SCHEMES["query"]} }}
  unknown: {{ url: "http://unknown.invalid", {SCHEMES["bearer"]} }}
  checked:
    {{ url: "${{ $env.UP }}/base", health: {{ path: /echo, timeout: 30s }}, {SCHEMES["query"]} }}
routes:{ROUTES}
  GET /slow/{{name}}: {{ call: "GET slow /${{ $request.params.name }}", respond: {{ body: "${{ @ }}" }} }}
  GET /nowhere: {{ call: "GET nowhere /x", respond: {{ body: "${{ @ }}" }} }}
  GET /unknown: {{ call: "GET unknown /x", respond: {{ body: "${{ @ }}" }} }}
  GET /bare/call: {{ call: "GET query /echo", respond: {{ body: "${{ @ }}" }} }}
  GET /bare/forward: {{ forward: query /echo }}
  GET /bare/health: {{ builtin: health }}
  POST /bad: {{ call: {{ upstream: bearer, path: /echo, body: "${{ abs(@) }}" }}, respond: {{ body: x }} }}
""".replace('query: "${ $request.query }"', 'query: { $spread: "${ $request.query }" }')


def _served(upstream: Upstream, values: dict[str, str]) -> Iterator[Server]:
    userinfo = upstream.url.replace("http://", "http://bob:s%40crt-canary@")
    env = {"UP": upstream.url, "USERINFO": userinfo, **values}
    with dragoman_server(MAPPING, env, ("--log-level", "debug")) as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    yield from _served(upstream, CANARIES)


@pytest.fixture(scope="module")
def keyless(upstream: Upstream) -> Iterator[Server]:
    yield from _served(upstream, {})


KEY = {"authorization": f"Bearer {CANARIES['KEYS']}"}


@pytest.mark.parametrize(
    ("scheme", "name", "value"),
    [
        ("bearer", "authorization", "Bearer canary-bearer-1a"),
        ("header", "x-api-key", "canary-header-2b"),
        ("basic", "authorization", "Basic YW5uLWNhbmFyeTpjYW5hcnktcGFzc3dvcmQtM2M6L0A="),
        ("userinfo", "authorization", "Basic Ym9iOnNAY3J0LWNhbmFyeQ=="),
    ],
)
def test_a_header_carries_the_key(server: Server, scheme: str, name: str, value: str) -> None:
    seen = server.get(f"/{scheme}/echo", headers=KEY).json
    assert seen["headers"][name] == value
    assert seen["target"] == "/base/echo"
    assert "@" not in seen["headers"]["host"]
    assert sum("canary" in field for field in seen["headers"].values()) == (
        name == "x-api-key" or scheme == "bearer"
    )


@pytest.mark.parametrize("query", ["", "?a=1", "?key=evil", "?key=evil&key=worse&a=1"])
def test_a_query_carries_the_key_which_the_client_cannot_replace(
    server: Server, upstream: Upstream, query: str
) -> None:
    server.get(f"/query/echo{query}", headers={**KEY, "x-request-id": f"query-{len(query)}"})
    (seen,) = upstream.seen(f"query-{len(query)}")
    assert [value for name, value in seen.query if name == "key"] == [CANARIES["QUERY"]]
    assert ("a", "1") in seen.query or "a=1" not in query


@pytest.mark.parametrize("path", ["call", "forward", "health"])
def test_a_query_carries_the_key_as_the_only_parameter(server: Server, upstream: Upstream, path: str) -> None:
    before = len(upstream.requests)
    assert server.get(f"/bare/{path}", headers=KEY).status == 200
    (seen,) = upstream.requests[before:]
    assert (seen.path, seen.query) == ("/base/echo", [("key", CANARIES["QUERY"])])


@pytest.mark.parametrize("path", ["call", "forward", "health"])
def test_without_a_key_there_is_no_query(keyless: Server, upstream: Upstream, path: str) -> None:
    before = len(upstream.requests)
    assert keyless.get(f"/bare/{path}").status == 200
    (seen,) = upstream.requests[before:]
    assert seen.target == "/base/echo"


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_without_a_key_nothing_is_sent(keyless: Server, scheme: str) -> None:
    seen = keyless.get(f"/{scheme}/echo").json
    assert seen["target"] == "/base/echo"
    assert not {"authorization", "x-api-key"} & set(seen["headers"])


def test_the_clients_own_headers_are_not_forwarded(server: Server) -> None:
    sent = {
        **KEY,
        "cookie": "session=1",
        "x-api-key": "client",
        "x-forwarded-for": "1.2.3.4",
        "x-tenant": "t",
    }
    seen = server.get("/bearer/echo", headers=sent).json["headers"]
    expected = {"host", "user-agent", "accept", "accept-encoding", "x-request-id", "authorization"}
    assert set(seen) == expected
    assert seen["authorization"] != KEY["authorization"]


def test_cookies_of_upstreams_are_neither_stored_nor_returned(server: Server) -> None:
    response = server.get("/bearer/cookie", headers=KEY)
    assert (response.status, response.header("set-cookie")) == (200, None)
    assert "cookie" not in server.get("/bearer/echo", headers=KEY).json["headers"]


#: Behaviours that fail quickly; all others are called through the upstream with short timeouts.
QUICK = [
    name
    for name in BEHAVIOURS
    if not name.startswith(("hang", "drip", "half-json-hang", "informed-for", "echo"))
]


def test_no_secret_is_ever_shown(server: Server) -> None:
    """Successes and failures of every kind at debug level: no log line and no response contains a canary."""
    responses = [
        server.get(f"/{scheme}/{name}?key=x", headers=KEY) for scheme in SCHEMES for name in QUICK[::4]
    ]
    responses += [
        server.get(f"/slow/{name}", headers=KEY) for name in ("hang", "drip", "hang-in-body", "json")
    ]
    responses += [server.get(path, headers=KEY) for path in ("/nowhere", "/unknown", "/none", "/bearer/%ff")]
    responses += [
        server.get(path, headers={"authorization": "Bearer canary-wrong"}) for path in ("/nowhere", "/x")
    ]
    responses += [server.post("/bad", {"canary-body": "canary"}, headers=KEY)]
    responses += [
        server.request("PATCH", "/bearer/echo?key=canary-own", headers={**KEY, "cookie": "canary=1"})
    ]
    assert len({response.status for response in responses}) >= 6
    assert not [response for response in responses if response.status == 500]
    request_id = server.get("/bearer/json?canary=1", headers=KEY).header("x-request-id")
    assert server.logged(request_id or "")["status_code"] == 200
    for text in [server.text(), *(f"{response.headers}{response.body!r}" for response in responses)]:
        assert "canary" not in text.replace("sk-upstream-canary", "").lower() or "canary-body" in text
        for secret in (*CANARIES.values(), "s%40crt", "s@crt", "YW5uLWNhb", "Ym9iOnNA", "sk-upstream-canary"):
            assert secret not in text, text
    assert server.text().count("canary") == 0
