"""More concurrent requests than the limit: the rest are refused at once, with Retry-After."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.support.server import dragoman_server
from tests.support.upstream import Upstream, after, eventually, json_response

MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
errors: { body: { failed: "${ kind }" } }
routes:
  GET /call: { call: GET up /overload, respond: { body: "${ @ }" } }
  GET /local: { respond: { body: { ok: true } } }
"""


def test_requests_above_the_limit_are_refused(upstream: Upstream) -> None:
    upstream.on("/overload", after(1.0, json_response({"ok": True})))
    args = ("--max-in-flight", "20")
    with dragoman_server(MAPPING, {"UP": upstream.url}, args) as server, ThreadPoolExecutor(300) as pool:
        responses = list(pool.map(lambda _: server.get("/call"), range(300)))
        refused = [response for response in responses if response.status == 503]
        assert {response.status for response in responses} == {200, 503}
        assert len(responses) - len(refused) >= 20
        for response in refused:
            assert response.json == {"failed": "overloaded"}
            assert response.header("retry-after") == "1"
        line = server.logged(refused[0].header("x-request-id") or "")
        assert (line["status_code"], line["error_kind"]) == (503, "overloaded")
        assert eventually(lambda: server.get("/local").status == 200)


def test_the_limit_from_the_environment(upstream: Upstream) -> None:
    upstream.on("/overload", after(0.5, json_response({"ok": True})))
    env = {"UP": upstream.url, "DRAGOMAN_MAX_IN_FLIGHT": "1"}
    with dragoman_server(MAPPING, env) as server, ThreadPoolExecutor(5) as pool:
        statuses = list(pool.map(lambda _: server.get("/call").status, range(5)))
        assert sorted(set(statuses)) == [200, 503]
