"""Calls between mappings in the process: the client is let in once, by the mapping that it calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import Response, Server, dragoman_server

MAPPINGS = {
    "outer.yaml": """
      dragoman: 1
      name: outer
      auth:
        bearer:
          - { name: web, key: sk-web }
          - { name: small, key: sk-small, rate_limit: 3/1h }
          - { name: shared, key: sk-shared }
      upstreams: { inner: { url: "mapping:inner" }, refusing: { url: "mapping:refusing" } }
      errors: { body: { outer: "${ kind }", message: "${ message }", said: "${ upstream.body }" } }
      routes:
        GET /key: { call: GET inner /key, respond: { body: "${ @ }" } }
        GET /through: { forward: inner /key }
        GET /shared: { call: GET inner /key, respond: { body: "${ @ }" } }
        GET /two:
          calls: { a: GET inner /key, b: GET inner /key }
          respond: { body: ["${ $calls.a.body.key }", "${ $calls.b.body.key }"] }
        GET /limited: { call: GET inner /limited, respond: { body: "${ @ }" } }
        GET /barred: { call: GET inner /barred, respond: { body: "${ @ }" } }
        GET /refused: { call: GET inner /refused, respond: { body: "${ @ }" } }
        GET /open: { auth: none, call: GET inner /key, respond: { body: "${ @ }" } }
    """,
    "inner.yaml": """
      dragoman: 1
      name: inner
      prefix: /inner
      auth:
        bearer:
          - { name: own, key: sk-own }
          - { name: web, key: sk-inner-web, routes: ["GET /inner/nothing"] }
          - { name: shared, key: sk-shared, rate_limit: 2/1h }
      errors: { body: { inner: "${ kind }" } }
      routes:
        GET /key: { respond: { body: { key: "${ nullable($request.key) }" } } }
        GET /limited: { rate_limit: 2/1h, respond: { body: { key: "${ $request.key }" } } }
        GET /barred: { respond: { body: { key: "${ $request.key }" } } }
        GET /refused: { respond: { body: "${ fail('unauthorized', 'not you') }" } }
        GET /nothing: { respond: { body: x } }
    """,
    "refusing.yaml": """
      dragoman: 1
      name: refusing
      prefix: /refusing
      auth: { bearer: sk-refusing }
      routes: { GET /x: { respond: { body: x } } }
    """,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with dragoman_server(MAPPINGS) as running:
        yield running


def ask(server: Server, target: str, key: str | None = "sk-web") -> Response:
    return server.get(target, headers={} if key is None else {"authorization": f"Bearer {key}"})


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/key", {"key": "web"}),
        ("/through", {"key": "web"}),
        ("/two", ["web", "web"]),
        ("/barred", {"key": "web"}),
        ("/open", {"key": None}),
    ],
)
def test_a_call_inside_needs_no_key_and_sees_that_of_the_client(
    server: Server, target: str, body: object
) -> None:
    response = ask(server, target)
    assert (response.status, response.json) == (200, body)


@pytest.mark.parametrize("target", ["/key", "/through", "/two"])
@pytest.mark.parametrize("key", [None, "sk-own", "sk-inner-web", "sk-wrong"])
def test_the_client_is_asked_for_the_key_of_the_mapping_that_it_calls(
    server: Server, target: str, key: str | None
) -> None:
    assert ask(server, target, key).status == 401


@pytest.mark.parametrize("key", [None, "sk-web", "sk-wrong"])
def test_from_outside_the_inner_mapping_is_guarded(server: Server, key: str | None) -> None:
    assert ask(server, "/inner/key", key).status == 401
    assert ask(server, "/inner/key", "sk-own").json == {"key": "own"}
    assert ask(server, "/inner/key", "sk-inner-web").status == 403


def test_the_rate_of_a_key_counts_once(server: Server) -> None:
    """A route with two calls takes one request of its client's three."""
    assert [ask(server, "/two", "sk-small").status for _ in range(4)] == [200, 200, 200, 429]


def test_the_rate_of_an_inner_key_of_the_same_name_does_not_count(server: Server) -> None:
    assert [ask(server, "/shared", "sk-shared").status for _ in range(4)] == [200] * 4
    assert [ask(server, "/inner/key", "sk-shared").status for _ in range(3)] == [200, 200, 429]


def test_the_rate_of_an_inner_route_counts_by_the_key_of_the_client(server: Server) -> None:
    assert [ask(server, "/limited", "sk-web").status for _ in range(3)] == [200, 200, 429]
    assert ask(server, "/limited", "sk-shared").status == 200


def test_a_refusal_of_the_inner_mapping_itself_is_passed_on(server: Server) -> None:
    response = ask(server, "/refused")
    assert (response.status, response.json["outer"]) == (401, "unauthorized")
    assert response.json["said"] == {"inner": "unauthorized"}
