"""Client keys by name: hashed, from a file, in another header, for some routes only; no log shows one."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Response, Server, dragoman_server, failed_start
from tests.support.upstream import Upstream

WEB, PARTNER, OLD, PLAIN = "sk-web-4711", "sk-partner-0815", "sk-old-4242", "sk-plain-1234"
ROUTES = """
  GET /articles/{id}: { respond: { body: "${ $request.key }" } }
  POST /orders: { respond: { body: "${ $request.key }" } }
  GET /cached: { cache: 1m, respond: { body: "${ $request.key }" } }
  GET /through/{rest:path}: { forward: up /echo }
  GET /free: { auth: none, respond: { body: { key: "${ nullable($request.key) }" } } }
"""
MAPPING = f"""
dragoman: 1
env: {{ UP: {{}}, WEB: {{ secret: true }} }}
upstreams: {{ up: {{ url: "${{ $env.UP }}" }} }}
auth:
  header: X-Api-Key
  bearer:
    - {{ name: web, key: "${{ $env.WEB }}" }}
    - name: partner
      sha256: {hashlib.sha256(PARTNER.encode()).hexdigest().upper()}
      routes: ["GET /articles/*"]
    - sha256:{hashlib.sha256(OLD.encode()).hexdigest()}
    - {PLAIN}
    - {{ name: unset, key: "${{ $env.WEB2 }}" }}
errors: {{ body: {{ kind: "${{ kind }}", by: "${{ $request.key }}" }} }}
routes: {ROUTES}
"""
MAPPING = MAPPING.replace("env: { UP: {}", "env: { WEB2: {}, UP: {}")


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url, "WEB": WEB}) as running:
        yield running
        log = running.text()
        assert not [key for key in (WEB, PARTNER, OLD, PLAIN) if key in log], "a key is in the log"


def send_request(
    server: Server, key: str, target: str, method: str = "GET", request_id: str = "r"
) -> Response:
    return server.request(
        method, target, headers={"authorization": f"Bearer {key}", "x-request-id": request_id}
    )


def short(key: str) -> str:
    return f"key-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


@pytest.mark.parametrize(
    ("key", "name"), [(WEB, "web"), (PARTNER, "partner"), (OLD, short(OLD)), (PLAIN, short(PLAIN))]
)
def test_a_key_is_identified_by_its_name(server: Server, key: str, name: str) -> None:
    request_id = uuid.uuid4().hex
    assert send_request(server, key, "/articles/1", request_id=request_id).text == name
    assert server.logged(request_id)["key_name"] == name


@pytest.mark.parametrize(
    "text", [f"sha256:{hashlib.sha256(OLD.encode()).hexdigest()}", hashlib.sha256(OLD.encode()).hexdigest()]
)
def test_a_digest_is_not_a_key(server: Server, text: str) -> None:
    assert send_request(server, text, "/articles/1").status == 401


def test_a_key_is_valid_for_its_routes_only(server: Server) -> None:
    request_id = uuid.uuid4().hex
    assert send_request(server, PARTNER, "/articles/1", "HEAD").status == 200
    response = send_request(server, PARTNER, "/orders", "POST", request_id)
    assert (response.status, response.json) == (403, {"kind": "forbidden", "by": "partner"})
    assert response.header("www-authenticate") is None
    line = server.logged(request_id)
    assert (line["error_kind"], line["key_name"]) == ("forbidden", "partner")
    assert send_request(server, PARTNER, "/through/articles/1").status == 403
    assert send_request(server, PARTNER, "/articles/..%2forders").status in (200, 400), (
        "the route counts, not the path"
    )
    assert send_request(server, PARTNER, "/nowhere").status == 404
    assert send_request(server, WEB, "/orders", "POST").status == 200


def test_a_key_in_a_custom_header(server: Server, upstream: Upstream) -> None:
    request_id = uuid.uuid4().hex
    fields = {"x-api-key": WEB, "x-request-id": request_id}
    assert server.get("/articles/1", headers=fields).text == "web"
    assert server.get("/through/x", headers=fields).status == 200
    (seen,) = upstream.seen(request_id)
    assert seen.header("x-api-key") is None, "the client's key is not sent to the upstream"
    for wrong in ({"x-api-key": "nope"}, {"x-api-key": ""}, {"x-api-key": f"Bearer {WEB}"}):
        assert server.get("/articles/1", headers=wrong).status == 401
    two = {"x-api-key": WEB, "authorization": f"Bearer {WEB}"}
    assert server.get("/articles/1", headers=two).status == 401, "one key, not two"


def test_a_response_that_names_the_key_is_cached_for_that_key(server: Server) -> None:
    assert [send_request(server, key, "/cached").text for key in (WEB, PLAIN, WEB)] == [
        "web",
        short(PLAIN),
        "web",
    ]


def test_routes_without_keys_have_no_key_name(server: Server) -> None:
    assert send_request(server, WEB, "/free").json == {"key": None}


FROM_FILE = """
dragoman: 1
env: { KEYS_FILE: {} }
auth: { bearer: { $file: "${ $env.KEYS_FILE }" } }
routes: { GET /x: { respond: { body: "${ $request.key }" } } }
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("keys.json", json.dumps([{"name": "web", "key": WEB}, OLD])),
        (
            "keys.yaml",
            f"- {{ name: web, key: {WEB} }}\n- sha256:{hashlib.sha256(OLD.encode()).hexdigest()}\n",
        ),
        ("keys", f"# ours\n{WEB}\n\nsha256:{hashlib.sha256(OLD.encode()).hexdigest()}\n"),
    ],
)
def test_keys_from_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with dragoman_server(FROM_FILE, {"KEYS_FILE": str(tmp_path / name)}) as server:
        assert send_request(server, WEB, "/x").text in ("web", short(WEB))
        assert send_request(server, OLD, "/x").text == short(OLD)
        assert send_request(server, "other", "/x").status == 401


def test_a_file_without_keys_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text('["", null]')
    status, output = failed_start(FROM_FILE, {"KEYS_FILE": str(tmp_path / "keys.json")})
    assert status == 1
    assert "the file contains no key" in output
