"""Request ids: accepted from clients or generated, sent to upstreams, returned and logged."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.applications import SERVERS, served_by
from tests.support.server import Server
from tests.support.upstream import Upstream, eventually

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  GET /own: { respond: { body: "${ $request.id }" } }
  GET /forged: { respond: { headers: { x-request-id: forged }, body: ok } }
  GET /call: { call: GET up /echo, respond: { body: "${ headers.\\"x-request-id\\" }" } }
"""


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[Server]:
    with served_by(request.param, MAPPING, {"UP": upstream.url}) as running:
        yield running


@pytest.mark.parametrize(
    "given", ["a", "req-1", "A.b_c:d-9", "0" * 128, "6f1c2f6e-8d0a-4a53-9d1e-3b7b1c9f2a10"]
)
@pytest.mark.parametrize("path", ["/own", "/call", "/nowhere", "/forged"])
def test_an_id_of_the_client_is_used(server: Server, path: str, given: str) -> None:
    response = server.get(path, headers={"x-request-id": given})
    assert response.all("x-request-id") == [given]
    assert path not in ("/own", "/call") or response.text == given
    logged = (given, path)
    assert eventually(lambda: logged in {(line.get("request_id"), line.get("path")) for line in server.log()})


@pytest.mark.parametrize(
    "given", [None, "", "0" * 129, "two words", "a/b", "é", "a\tb", '"quoted"', "a,b", "{}"]
)
@pytest.mark.parametrize("path", ["/own", "/call"])
def test_an_id_is_generated(server: Server, path: str, given: str | None) -> None:
    response = server.get(path, headers={} if given is None else {"x-request-id": given})
    (made,) = response.all("x-request-id")
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert response.text == made
    assert server.logged(made)["status_code"] == 200


def test_ids_differ(server: Server) -> None:
    assert len({server.get("/own").text for _ in range(50)}) == 50
