"""Client keys: valid and invalid credentials, and no work for unauthorized requests."""

from __future__ import annotations

import base64
import hmac
import time
import uuid
from collections.abc import Iterator

import pytest

from engine.http.auth import BearerKeys, ClientKey
from tests.support.server import Server, dragoman_server, read_all
from tests.support.times import SOON
from tests.support.upstream import Upstream

KEY, OTHER = "sk-one-4711", "sk-two-0815"
MAPPINGS = {
    "guarded.yaml": """
      dragoman: 1
      env: { UP: {}, KEYS: { secret: true } }
      upstreams: { up: { url: "${ $env.UP }" } }
      auth: { bearer: "${ $env.KEYS }" }
      errors: { body: { kind: "${ kind }" } }
      routes:
        GET /guarded: { call: GET up /json, respond: { body: "${ @ }" } }
        POST /guarded: { call: { upstream: up, path: /echo, body: "${ @ }" }, respond: { body: "${ @ }" } }
        GET /free: { auth: none, respond: { body: free } }
        GET /named/{x}: { respond: { body: "${ $request.params.x }" } }
    """,
    "open.yaml": """
      dragoman: 1
      auth: none
      prefix: /open
      routes:
        GET /x: { respond: { body: open } }
    """,
}


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPINGS, {"UP": upstream.url, "KEYS": f"{KEY}, {OTHER}"}) as running:
        yield running
        assert running.get("/guarded", headers={"authorization": f"Bearer {KEY}"}).seconds < SOON


BASIC = base64.b64encode(f"user:{KEY}".encode()).decode()

#: Invalid values of Authorization; a list is several header fields.
FORMS: list[str | list[str]] = [
    [], "", " ", "Bearer", "Bearer ", "bearer", KEY, f"Basic {BASIC}", f"Token {KEY}", f"Digest {KEY}",
    f"Bearer{KEY}", f"Bearer:{KEY}", f"Bearer={KEY}", f"Bearer\t{KEY}", f"Bearer,{KEY}",
    f"Bearer Bearer {KEY}", f"Bearer {KEY}x", f"Bearer x{KEY}", f"Bearer {KEY[:-1]}",
    f"Bearer {KEY.upper()}", f"Bearer {KEY},{OTHER}", f"Bearer {KEY}, {OTHER}", f"Bearer {KEY} {OTHER}",
    f"Bearer {KEY}, Bearer {OTHER}", f'Bearer "{KEY}"', f"Bearer '{KEY}'", f"Bearer <{KEY}>", "Bearer null",
    "Bearer undefined", "Bearer None", "Bearer ' OR 1=1 --", "Bearer *", "Bearer " + "x" * 8000,
    f"Bearer {KEY}\u00e9", "Bearer \u00ff", f"XBearer {KEY}", f"Bearers {KEY}", f"Bearer%20{KEY}",
    f"Bearer {KEY}%00", "Bearer ${ $env.KEYS }", f"bearer={KEY}", [f"Bearer {KEY}", f"Bearer {KEY}"],
    [f"Bearer {KEY}", "Bearer wrong"], ["Bearer wrong", f"Bearer {KEY}"],
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
def test_invalid_credentials_are_refused(server: Server, upstream: Upstream, form: str | list[str]) -> None:
    request_id = uuid.uuid4().hex
    values = [form] if isinstance(form, str) else form
    fields = "".join(f"authorization: {value}\r\n" for value in values)
    start = (
        f"POST /guarded HTTP/1.1\r\nhost: x\r\nx-request-id: {request_id}\r\nconnection: close\r\n{fields}"
    )
    head, _, body = server.raw(f"{start}content-length: 2\r\n\r\n{{}}".encode("latin-1")).partition(
        b"\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nwww-authenticate: Bearer" in head
    assert body == b'{"kind":"unauthorized"}'
    assert upstream.seen(request_id) == []


@pytest.mark.parametrize("form", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER  {KEY} ", f"Bearer {OTHER}"])
def test_valid_credentials_are_accepted(server: Server, form: str) -> None:
    assert server.get("/guarded", headers={"authorization": form}).json == {"ok": True}


def test_open_routes_need_no_key(server: Server) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}):
        assert server.get("/free", headers=headers).text == "free"
        assert server.get("/open/x", headers=headers).text == "open"


@pytest.mark.parametrize(
    ("method", "target"), [("GET", "/named/%ff"), ("HEAD", "/guarded"), ("GET", "/named/x")]
)
def test_the_key_is_checked_before_anything_else(server: Server, method: str, target: str) -> None:
    assert server.request(method, target).status == 401


def test_a_refusal_does_not_wait_for_the_body(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /guarded HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        started = time.monotonic()
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")
        assert time.monotonic() - started < SOON


def test_a_client_that_expects_100_continue_is_refused_at_once(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(
            b"POST /guarded HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
            b"connection: close\r\ncontent-length: 9\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("target", ["/guarded", "/nowhere"])
def test_a_refusal_can_be_read_while_the_client_uploads(server: Server, target: str) -> None:
    piece = b"x" * 65_536
    with server.connect() as connection:
        head = f"POST {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {64 << 20}\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(1024):
            connection.sendall(piece)
        assert read_all(connection).startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 404 "))


@pytest.mark.parametrize(
    ("authorization", "accepted"),
    [(f"Bearer {KEY}", True), ("Bearer wrong", False), (None, False), ("", False), ("Bearer é", False),
     ("Basic x", False), ("Bearer " + "x" * (1 << 20), False), ("Bearer \udcff", False)],
    ids=range(8),
)  # fmt: skip
def test_keys_are_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch, authorization: str | None, accepted: bool
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return real(left, right)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    keys = BearerKeys(map(ClientKey.of, (KEY, OTHER, "third")))
    headers = [] if authorization is None else [("authorization", authorization)]
    assert (keys.find(headers) is not None) is accepted
    assert len(compared) == 3, "every key is compared, found or not"
    assert {len(value) for pair in compared for value in pair} == {32}, "digests are compared, not keys"


def test_without_keys_nothing_is_accepted() -> None:
    assert not BearerKeys([])
    assert BearerKeys([]).find([("authorization", "Bearer ")]) is None
