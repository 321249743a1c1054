"""Cached responses: only for the same request, never private to a client, and bounded in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.http.messages import CompleteResponse, Content
from engine.stores.response_cache import ResponseCache
from tests.support.memory import MIB, linux_only, memory
from tests.support.server import Response as ClientResponse
from tests.support.server import Server, dragoman_server
from tests.support.times import PATIENCE
from tests.support.upstream import (
    Behaviour,
    Channel,
    Seen,
    Upstream,
    complete_response,
    eventually,
    json_response,
)

MAPPING = """
dragoman: 1
name: front
prefix: /front
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  GET /method:
    cache: 1h
    call: GET up /count
    respond: { headers: { x-method: "${ $request.method }" }, body: "${ @ }" }
  GET /field:
    cache: 1h
    call: GET up /count
    respond: { body: ["${ @ }", '${ $request.headers."x-list" }'] }
  GET /sets/{name}/{value}:
    cache: 1h
    call: GET up /count
    respond:
      status: ${ to_number($request.query.status || '200') }
      headers: { $spread: "${ from_items([[$request.params.name, $request.params.value]]) }" }
      body: ${ @ }
  GET /call/{name}:
    calls: { n: { upstream: up, path: "/${ $request.params.name }", cache: 1h } }
    respond: { body: { n: "${ @ }", age: "${ $calls.n.headers.age }" } }
  POST /dropped:
    cache: 1h
    call: { upstream: up, path: /count, body: { a: "${ a }" } }
    respond: { body: "${ @ }" }
  GET /same: { cache: 1h, respond: { body: outer } }
  GET /front/same: { cache: 1h, respond: { body: inner } }
"""
OTHER = """
dragoman: 1
name: other
upstreams: { front: { url: "mapping:front" } }
routes:
  GET /same: { call: GET front /front/same, respond: { body: "${ @ }" } }
  GET /through: { forward: front /front/same }
"""


def counted(status: int = 200, headers: list[tuple[str, str]] | None = None) -> Behaviour:
    """Returns a behaviour that returns the number of requests so far."""
    count = iter(range(1, 1000))

    async def behave(channel: Channel, seen: Seen) -> None:
        await json_response(next(count), status, headers or ())(channel, seen)

    return behave


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        running.on("/count", counted())
        yield running


@pytest.fixture
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server({"front.yaml": MAPPING, "other.yaml": OTHER}, {"UP": upstream.url}) as running:
        yield running


def _is_hit(response: ClientResponse) -> bool:
    return response.header("x-dragoman-cache") == "hit"


# --- Which requests are the same -------------------------------------------------------------------------


def test_head_and_get_have_separate_entries(server: Server) -> None:
    responses = [server.request(method, "/front/method") for method in ("HEAD", "GET", "HEAD", "GET")]
    assert [response.header("x-method") for response in responses] == ["HEAD", "GET", "HEAD", "GET"]
    assert [_is_hit(response) for response in responses] == [False, False, True, True]


def test_fields_of_one_name_are_compared_in_order(server: Server) -> None:
    def fetch(*values: str) -> object:
        fields = "".join(f"x-list: {value}\r\n" for value in values)
        data = server.raw(
            f"GET /front/field HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}\r\n".encode()
        )
        return data.rpartition(b"\r\n\r\n")[2]

    assert [fetch("a", "b"), fetch("b", "a"), fetch("a", "b")] == [
        b'[1,"a, b"]',
        b'[2,"b, a"]',
        b'[1,"a, b"]',
    ]


def test_one_path_of_two_routes(server: Server) -> None:
    """From outside a path has the mapping's prefix; from another mapping it has none."""
    assert server.get("/front/same").text == "outer"
    assert server.get("/through").text == "inner"
    assert server.get("/front/same").text == "outer"


def test_a_hit_names_dropped_fields(server: Server) -> None:
    responses = [server.post("/front/dropped", {"a": 1, "b": 2}) for _ in range(2)]
    assert [_is_hit(response) for response in responses] == [False, True]
    assert [response.all("x-dragoman-dropped") for response in responses] == [["b"], ["b"]]


# --- What is not cached ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "set-cookie/a=b",
        "cache-control/no-store",
        "cache-control/max-age=60,%20Private",
        'cache-control/no-cache="x-a"',
        "vary/*",
        "vary/accept,%20*",
        "x-any/a?status=206",
    ],
)
def test_a_private_response_is_not_cached(server: Server, path: str) -> None:
    responses = [server.get(f"/front/sets/{path}") for _ in range(2)]
    assert [response.json for response in responses] == [1, 2]
    assert not any(map(_is_hit, responses))


@pytest.mark.parametrize("path", ["cache-control/max-age=60", "vary/accept", "x-cookie/set-cookie", "etag/a"])
def test_a_public_response_is_cached(server: Server, path: str) -> None:
    responses = [server.get(f"/front/sets/{path}") for _ in range(2)]
    assert [response.json for response in responses] == [1, 1]
    assert [_is_hit(response) for response in responses] == [False, True]
    name, _, value = path.partition("/")
    assert responses[1].all(name) == [value]


@pytest.mark.parametrize(
    ("headers", "status", "is_cached"),
    [
        ([("Set-Cookie", "session=of-somebody")], 200, False),
        ([("vary", "*")], 200, False),
        ([], 206, False),
        ([], 500, False),
        ([("vary", "accept"), ("cache-control", "no-cache")], 200, True),
    ],
)
def test_which_responses_of_calls_are_cached(
    server: Server, upstream: Upstream, headers: list[tuple[str, str]], status: int, is_cached: bool
) -> None:
    upstream.on("/own", counted(status, headers))
    responses = [server.get("/front/call/own") for _ in range(2)]
    if status == 500:
        assert [response.status for response in responses] == [502, 502]
    else:
        assert [response.json["n"] for response in responses] == [1, 1 if is_cached else 2]
    assert len([seen for seen in upstream.requests if seen.target == "/own"]) == (1 if is_cached else 2)


def test_age_is_counted_from_the_origin(server: Server, upstream: Upstream) -> None:
    upstream.on("/aged", counted(headers=[("age", "1000")]))
    upstream.on("/odd", counted(headers=[("age", "soon")]))
    assert server.get("/front/call/aged").json == {"n": 1, "age": "1000"}
    assert 1000 <= int(server.get("/front/call/aged").json["age"]) < 1000 + PATIENCE
    assert server.get("/front/call/odd").json == {"n": 1, "age": "soon"}
    assert 0 <= int(server.get("/front/call/odd").json["age"]) < PATIENCE
    responses = [server.get("/front/sets/age/1000") for _ in range(2)]
    assert [len(response.all("age")) for response in responses] == [1, 1]
    assert 1000 <= int(responses[1].header("age") or "") < 1000 + PATIENCE


# --- Bounds ----------------------------------------------------------------------------------------------


def _response(body: bytes, *headers: tuple[str, str]) -> CompleteResponse:
    return CompleteResponse(200, headers, Content(body, "application/json"))


def test_values_are_not_retained() -> None:
    cache = ResponseCache()
    response = CompleteResponse(200, (), Content.json([{}, {}]))
    assert response.content.data == b"[{},{}]"
    cache.put("a", response, 60)
    found = [cache.get("a"), cache.get("a")]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].content.value == [{}, {}]
    assert found[0].content.value is not found[1].content.value
    assert found[0].content.value is not response.content.value


def test_bodies_fields_and_keys_count_towards_the_limit() -> None:
    cache = ResponseCache(max_entries=10**9, max_bytes=MIB)
    for number in range(1000):
        cache.put(f"{number:064}", _response(b"", ("x-large", f"{number}" + "y" * 8000)), 60)
        assert cache.size <= MIB
    assert 100 < len(cache) <= 128
    for number in range(100_000):
        cache.put(f"{number:064}", _response(b""), 60)
    assert len(cache) < 2000
    assert cache.size <= MIB
    cache.put("body", _response(b"x" * (MIB - 2000)), 60)
    assert cache.get("body") is not None
    assert len(cache) < 4
    cache.put("body", _response(b"x" * MIB), 60)
    assert cache.get("body") is None, "one that is larger than all is not cached, and replaces the one before"
    assert cache.size <= MIB


def test_the_number_of_entries_is_bounded() -> None:
    cache = ResponseCache(max_entries=2)
    cache.put("a", _response(b"1"), 60)
    cache.put("b", _response(b"2"), 60)
    assert cache.get("a") is not None
    cache.put("c", _response(b"3"), 60)
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True], "b was used least recently"


LARGE = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  GET /route/{n}: { cache: 1h, call: GET up /large, respond: { body: "${ @ }" } }
  GET /call/{n}:
    calls: { large: { upstream: up, path: "/large/${ $request.params.n }", cache: 1h } }
    respond: { body: "${ length(@) }" }
"""


@linux_only
@pytest.mark.parametrize("kind", ["route", "call"])
def test_64_cached_responses_use_little_more_than_their_bytes(kind: str) -> None:
    items = 966 * 1024 // 3
    body = b"[1," + b"{}," * (items - 1) + b"{}]"
    with Upstream() as upstream:
        upstream.otherwise(complete_response(200, body))
        with dragoman_server(LARGE, {"UP": upstream.url}) as server:
            assert server.get(f"/{kind}/warm").status == 200
            before = memory(server)
            for number in range(64):
                assert server.get(f"/{kind}/{number}").status == 200
            called = len(upstream.requests)
            grown = []

            def has_little() -> bool:
                grown.append((memory(server) - before) / MIB)
                return grown[-1] <= 80

            assert eventually(has_little), f"{grown[-1]:.0f} MiB"
            assert server.get(f"/{kind}/63").status == 200
            assert len(upstream.requests) == called, "it is cached"
