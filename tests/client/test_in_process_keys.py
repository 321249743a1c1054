"""In-process calls between mappings: the client is authorized once, by the mapping that it calls."""

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
      errors: { body: { outer: "${ kind }", message: "${ message }", upstream: "${ upstream.body }" } }
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


def get(server: Server, target: str, key: str | None = "sk-web") -> Response:
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
def test_an_in_process_call_needs_no_key_and_sees_the_clients(
    server: Server, target: str, body: object
) -> None:
    response = get(server, target)
    assert (response.status, response.json) == (200, body)


@pytest.mark.parametrize("target", ["/key", "/through", "/two"])
@pytest.mark.parametrize("key", [None, "sk-own", "sk-inner-web", "sk-wrong"])
def test_the_client_needs_a_key_of_the_mapping_that_it_calls(
    server: Server, target: str, key: str | None
) -> None:
    assert get(server, target, key).status == 401


@pytest.mark.parametrize("key", [None, "sk-web", "sk-wrong"])
def test_the_inner_mapping_is_guarded_from_outside(server: Server, key: str | None) -> None:
    assert get(server, "/inner/key", key).status == 401
    assert get(server, "/inner/key", "sk-own").json == {"key": "own"}
    assert get(server, "/inner/key", "sk-inner-web").status == 403


def test_the_rate_of_a_key_counts_once(server: Server) -> None:
    """A route with two calls uses one of its client's three requests."""
    assert [get(server, "/two", "sk-small").status for _ in range(4)] == [200, 200, 200, 429]


def test_the_rate_of_an_inner_key_of_the_same_name_does_not_apply(server: Server) -> None:
    assert [get(server, "/shared", "sk-shared").status for _ in range(4)] == [200] * 4
    assert [get(server, "/inner/key", "sk-shared").status for _ in range(3)] == [200, 200, 429]


def test_the_rate_of_an_inner_route_counts_by_client_key(server: Server) -> None:
    assert [get(server, "/limited", "sk-web").status for _ in range(3)] == [200, 200, 429]
    assert get(server, "/limited", "sk-shared").status == 200


def test_a_refusal_of_the_inner_mapping_itself_is_passed_on(server: Server) -> None:
    response = get(server, "/refused")
    assert (response.status, response.json["outer"]) == (401, "unauthorized")
    assert response.json["upstream"] == {"inner": "unauthorized"}
