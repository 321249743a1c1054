"""Mappings with `public: false`: only other mappings call them, and their routes conflict with none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import Server, dragoman_server

CHAT = "POST /v1/chat/completions"
MAPPINGS = {
    "front.yaml": f"""
      dragoman: 1
      name: front
      auth: {{ bearer: [{{ name: web, key: sk-web }}] }}
      upstreams: {{ one: {{ url: "mapping:one" }}, two: {{ url: "mapping:two" }} }}
      routes:
        {CHAT}:
          call:
            upstream: ${{ model }}
            path: /v1/chat/completions
            body: ${{ @ }}
          respond: {{ body: "${{ @ }}" }}
    """,
    "one.yaml": f"""
      dragoman: 1
      name: one
      public: false
      routes:
        {CHAT}: {{ respond: {{ body: {{ by: one, key: "${{ $request.key }}" }} }} }}
        GET /only/here: {{ respond: {{ body: here }} }}
    """,
    "two.yaml": f"""
      dragoman: 1
      name: two
      public: false
      rate_limit: 2/1h
      routes:
        {CHAT}: {{ respond: {{ body: {{ by: two, path: "${{ $request.path }}" }} }} }}
    """,
}
KEY = {"authorization": "Bearer sk-web"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with dragoman_server(MAPPINGS) as running:
        yield running


def test_a_public_mapping_calls_those_that_are_not(server: Server) -> None:
    one = server.post("/v1/chat/completions", {"model": "one"}, headers=KEY)
    assert (one.status, one.json) == (200, {"by": "one", "key": "web"})
    two = server.post("/v1/chat/completions", {"model": "two"}, headers=KEY)
    assert (two.status, two.json) == (200, {"by": "two", "path": "/v1/chat/completions"})


def test_clients_reach_no_other_route(server: Server) -> None:
    assert server.get("/only/here", headers=KEY).status == 404
    assert server.post("/v1/chat/completions", {"model": "one"}).status == 401


def test_a_rate_limit_applies_to_calls(server: Server) -> None:
    found = [server.post("/v1/chat/completions", {"model": "two"}, headers=KEY).status for _ in range(3)]
    assert found[-1] == 429


def test_the_server_names_what_clients_can_call(server: Server) -> None:
    line = next(line for line in server.log() if line["event"] == "serving")
    assert (line["mappings"], line["routes"]) == (["front"], 1)


def test_a_mapping_that_is_not_public_needs_no_keys() -> None:
    with dragoman_server(MAPPINGS, args=("--host", "0.0.0.0")) as running:
        assert running.post("/v1/chat/completions", {"model": "one"}, headers=KEY).status == 200
