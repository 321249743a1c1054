"""The variables that a mapping reads decide what is fetched, parsed, cached and chosen for each request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.upstream import Upstream, complete_response

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams:
  up: { url: "${ $env.UP }" }
  stable: { url: "${ $env.UP }/stable" }
  canary: { url: "${ $env.UP }/canary" }
routes:
  GET /literal:
    call: GET up /reads-text
    respond: { body: { tag: p, other: x.upstream_body, status: "${ $upstream.status }" } }
  POST /positions:
    cache: 1m
    respond: { body: { $each: "${ items }", position: "${ $index }" } }
  POST /truth:
    cache: 1m
    respond: { body: "${ !items }" }
  GET /canary:
    call: { upstream: "${ if(random_id('') < 'V', 'stable', 'canary') }", path: /reads-choice }
    respond: { body: "${ name }" }
"""


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    upstream.on("/reads-text", complete_response(200, b"no JSON", "text/plain"))
    for name in ("stable", "canary"):
        upstream.on(f"/{name}/reads-choice", complete_response(200, f'{{"name": "{name}"}}'.encode()))
    with dragoman_server(MAPPING, {"UP": upstream.url}) as running:
        yield running


def test_a_literal_named_as_generated_code_reads_no_body(server: Server) -> None:
    response = server.get("/literal")
    assert (response.status, response.json) == (200, {"tag": "p", "other": "x.upstream_body", "status": 200})


def test_iterating_over_a_list_reads_the_body_and_is_part_of_the_cache_key(server: Server) -> None:
    two, one = {"items": ["a", "b"]}, {"items": ["a"]}
    responses = [server.post("/positions", body) for body in (two, one, two)]
    assert [response.json for response in responses] == [
        [{"position": 0}, {"position": 1}],
        [{"position": 0}],
        [{"position": 0}, {"position": 1}],
    ]
    assert [response.header("x-dragoman-cache") for response in responses] == [None, None, "hit"]
    assert [server.post("/truth", body).json for body in (two, {})] == [False, True]
    assert server.post("/positions", b"no JSON").status == 400


def test_a_random_choice_is_made_for_each_request(server: Server) -> None:
    names = {server.get("/canary").text for _ in range(60)}
    assert names == {"stable", "canary"}
