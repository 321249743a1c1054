"""Cross-origin requests by the Fetch standard's CORS protocol."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.applications import SERVERS, served_by
from tests.support.server import Response, Server

ALLOWED = "access-control-allow-origin"
PAGE = "https://chat.example.com"
MAPPINGS = {
    "named.yaml": """
      dragoman: 1
      name: named
      env: { ORIGINS: {} }
      auth: { bearer: key }
      cors:
        origins: "${ $env.ORIGINS }"
        headers: [authorization, x-own]
        expose: [x-request-id]
        credentials: true
        max_age: 5m
      routes:
        GET /named: { respond: { body: x } }
        POST /named: { respond: { body: x } }
        OPTIONS /named/own: { auth: none, respond: { body: own } }
    """,
    "any.yaml": """
      dragoman: 1
      name: any
      prefix: /any
      cors: { origins: "*", headers: ["*"] }
      routes:
        GET /x: { respond: { body: x } }
        DELETE /x/{id}: { respond: { status: 204 } }
    """,
    "patterns.yaml": """
      dragoman: 1
      name: patterns
      prefix: /patterns
      auth: { bearer: key }
      cors: { origins: ["http://localhost:*", "https://*.example.org", "app://*", "file://*"] }
      routes:
        GET /x: { respond: { body: x } }
    """,
    "none.yaml": """
      dragoman: 1
      name: none
      auth: { bearer: key }
      routes:
        GET /none: { respond: { body: x } }
        PUT /named: { respond: { body: x } }
    """,
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with served_by(request.param, MAPPINGS, {"ORIGINS": f"{PAGE}, http://localhost:3000"}) as running:
        yield running


def preflight(
    server: Server, target: str, method: str, origin: str = PAGE, headers: str | None = None
) -> Response:
    fields = {"origin": origin, "access-control-request-method": method}
    if headers is not None:
        fields["access-control-request-headers"] = headers
    return server.request("OPTIONS", target, headers=fields)


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_preflight_from_an_allowed_page(server: Server, origin: str, method: str) -> None:
    response = preflight(server, "/named", method, origin, "authorization,content-type,x-own")
    assert response.status in (200, 204)
    assert response.header("access-control-allow-origin") == origin
    assert response.header("access-control-allow-credentials") == "true"
    assert method in (response.header("access-control-allow-methods") or "")
    allowed = (response.header("access-control-allow-headers") or "").lower()
    assert "authorization" in allowed
    assert "x-own" in allowed
    assert response.header("access-control-max-age") == "300"
    assert "origin" in (response.header("vary") or "").lower()


@pytest.mark.parametrize(
    ("target", "method", "origin", "headers"),
    [
        ("/named", "GET", "https://evil.example", None),
        ("/named", "GET", "null", None),
        ("/named", "GET", PAGE + ".evil.example", None),
        ("/named", "GET", "http://chat.example.com", None),
        ("/named", "GET", PAGE, "x-other"),
        ("/named", "TRACE", PAGE, None),
        ("/none", "GET", PAGE, None),
        ("/named", "PUT", PAGE, None),
    ],
)
def test_a_preflight_that_a_browser_rejects(
    server: Server, target: str, method: str, origin: str, headers: str | None
) -> None:
    response = preflight(server, target, method, origin, headers)
    allowed = (
        response.status in (200, 204)
        and response.header("access-control-allow-origin") in (origin, "*")
        and (headers is None or headers in (response.header("access-control-allow-headers") or ""))
    )
    assert not allowed


def test_a_preflight_has_a_log_line(server: Server) -> None:
    fields = {"origin": PAGE, "access-control-request-method": "GET", "x-request-id": "preflight-1"}
    status = server.request("OPTIONS", "/named", headers=fields).status
    line = server.logged("preflight-1")
    assert (line["status_code"], line["method"], line["path"]) == (status, "OPTIONS", "/named")


def test_any_page_may_call_without_credentials(server: Server) -> None:
    response = preflight(server, "/any/x/7", "DELETE", "https://who.ever", "x-anything")
    assert (response.status, response.header("access-control-allow-origin")) == (200, "*")
    assert "x-anything" in (response.header("access-control-allow-headers") or "")
    assert "DELETE" in (response.header("access-control-allow-methods") or "")
    assert response.header("access-control-allow-credentials") is None
    assert (
        server.get("/any/x", headers={"origin": "https://who.ever"}).header("access-control-allow-origin")
        == "*"
    )


@pytest.mark.parametrize(
    ("method", "target", "key", "status"),
    [("GET", "/named", "key", 200), ("GET", "/named", "wrong", 401), ("DELETE", "/named", "key", 405),
     ("POST", "/named", "key", 200)],
)  # fmt: skip
def test_the_page_can_read_responses_and_errors(
    server: Server, method: str, target: str, key: str, status: int
) -> None:
    response = server.request(method, target, headers={"origin": PAGE, "authorization": f"Bearer {key}"})
    assert (response.status, response.header("access-control-allow-origin")) == (status, PAGE)
    assert response.header("access-control-expose-headers") == "x-request-id"
    assert "origin" in (response.header("vary") or "").lower()


@pytest.mark.parametrize(
    ("target", "origin"), [("/named", "https://evil.example"), ("/none", PAGE), ("/any/x", None)]
)
def test_other_origins_receive_responses_without_permission(
    server: Server, target: str, origin: str | None
) -> None:
    headers = {"authorization": "Bearer key"} | ({"origin": origin} if origin else {})
    response = server.get(target, headers=headers)
    assert (response.status, response.header("access-control-allow-origin")) == (200, None)


def test_each_method_of_a_path_has_its_own_mappings_policy(server: Server) -> None:
    assert (
        server.request("PUT", "/named", headers={"origin": PAGE}).header("access-control-allow-origin")
        is None
    )


def test_options_without_a_preflight_is_an_ordinary_method(server: Server) -> None:
    assert server.request("OPTIONS", "/named/own", headers={"origin": PAGE}).text == "own"
    assert server.request("OPTIONS", "/any/x").status == 405


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [("http://localhost", True), ("http://localhost:3000", True), ("https://a.b.example.org", True),
     ("app://obsidian.md", True), ("file://", True), ("https://example.org", False),
     ("http://localhost.evil.example:3000", False), ("https://localhost:3000", False), ("null", False)],
)  # fmt: skip
def test_allowed_origins_can_be_patterns(server: Server, origin: str, is_allowed: bool) -> None:
    expected = origin if is_allowed else None
    response = preflight(server, "/patterns/x", "GET", origin)
    assert (response.status, response.header(ALLOWED)) == (200 if is_allowed else 400, expected)
    response = server.get("/patterns/x", headers={"origin": origin, "authorization": "Bearer key"})
    assert (response.status, response.header(ALLOWED)) == (200, expected)
