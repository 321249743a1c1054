"""Raw requests, valid, invalid, mutated: a coherent response or a closed connection, never two meanings."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.support.server import Server, dragoman_server
from tests.support.times import PATIENCE, SOON
from tests.support.upstream import Upstream

MAPPING = """
dragoman: 1
name: raw
env: { UP: {} }
auth: { bearer: key }
upstreams: { up: { url: "${ $env.UP }" } }
errors: { body: { failed: "${ kind }", status: "${ status }" } }
routes:
  GET /local: { auth: none, respond: { body: { n: 1 } } }
  GET /call: { auth: none, call: GET up /json, respond: { body: "${ @ }" } }
  POST /echo: { auth: none, call: { upstream: up, path: /echo, body: "${ @ }" }, respond: { body: { n: 2 } } }
  GET /keyed: { respond: { body: never } }
  POST /keyed: { respond: { body: never } }
"""
CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parents[1] / "suites/requests.yaml").read_text())
_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[a-z0-9-]+: [^\r\n]*\r\n)*)\r\n")
MUTATIONS = 5000 if os.environ.get("DRAGOMAN_TORTURE") else 500


class RawResponse(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as own:
        yield own


@pytest.fixture(scope="module")
def hurried(upstream: Upstream) -> Iterator[Server]:
    """A server with short timeouts for incomplete requests."""
    args = ("--head-timeout", "1", "--body-timeout", "1")
    with dragoman_server(MAPPING, {"UP": upstream.url}, args) as own:
        yield own


def bytes_of(send: Any) -> bytes:
    pieces = send if isinstance(send, list) else [send]
    texts = (piece if isinstance(piece, str) else piece["text"] * piece["times"] for piece in pieces)
    return "".join(texts).encode("latin-1")


def parse_responses(data: bytes) -> list[RawResponse]:
    """Parses bytes as responses; asserts that no byte is left over."""
    found = []
    while data:
        head = _HEAD.match(data)
        assert head is not None, f"not a response head: {data[:200]!r}"
        data = data[head.end() :]
        fields = dict(line.split(": ", 1) for line in head[2].decode("latin-1").split("\r\n") if line)
        if head[1] == b"100":
            continue
        length = int(fields["content-length"])
        assert len(data) >= length, "a truncated response"
        found.append(RawResponse(int(head[1]), fields, data[:length]))
        data = data[length:]
    return found


def check_response(response: RawResponse) -> None:
    """Checks what holds for every response."""
    assert response.headers["content-type"] == "application/json"
    assert response.headers.get("x-request-id")
    assert "date" in response.headers
    assert "server" not in response.headers
    body = json.loads(response.body)
    if response.status >= 400:
        assert "failed" in body or body["error"]["message"]
        assert b"secret-payload" not in response.body


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_raw_request(server: Server, upstream: Upstream, case: dict[str, Any]) -> None:
    before = len(upstream.requests)
    started = time.monotonic()
    responses = parse_responses(server.raw(bytes_of(case["send"])))
    seconds = time.monotonic() - started
    wanted = case["status"] if isinstance(case["status"], list) else [case["status"]]
    assert responses, "no response"
    assert responses[0].status in wanted
    assert len(responses) <= case.get("responses", 1)
    assert len(responses) == case.get("responses", 1) or responses[0].status >= 400
    for response in responses:
        check_response(response)
    assert responses[-1].headers.get("connection") == "close"
    assert seconds < SOON, "the connection was not closed"
    seen = upstream.requests[before:]
    assert len(seen) <= case.get("calls", 0)
    assert not [one for one in seen if "SMUGGLED" in one.target]
    assert server.get("/local").seconds < SOON


def test_a_refusal_has_the_error_format_of_its_path_and_is_logged(server: Server) -> None:
    known = b"GET /call HTTP/1.1\r\nHost: x y\r\nX-Request-Id: known-1\r\n\r\n"
    [refusal] = parse_responses(server.raw(known))
    assert json.loads(refusal.body) == {"failed": "invalid_request", "status": 400}
    line = server.logged("known-1")
    assert (line["status_code"], line["path"], line["mapping"]) == (400, "/call", "raw")
    assert line["duration_ms"] >= 0
    [refusal] = parse_responses(server.raw(b"\x16\x03\x01"))
    assert json.loads(refusal.body)["error"]["type"] == "invalid_request"
    line = server.logged(refusal.headers["x-request-id"])
    assert (line["status_code"], line["error_kind"]) == (400, "invalid_request")
    assert "mapping" not in line


def test_100_continue_is_sent_if_the_body_is_needed(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        client.sendall(
            b"POST /keyed HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        )
        response = client.recv(1000)
        assert response.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in response


def test_a_head_in_single_bytes(server: Server) -> None:
    with server.connect() as client:
        for byte in b"POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}":
            client.sendall(bytes([byte]))
        [response] = parse_responses(client.recv(1000))
        assert response.status == 200


# --- Mutations -------------------------------------------------------------------------------------------


_ODD = [
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b":",
    b"%00",
    b"\xff",
    b"0",
    b"-",
    b"x" * 70,
    b"\x0b",
    b";",
]
_FIELDS = [
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: y\r\n", b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\nConnection: upgrade\r\n", b" folded\r\n", b"Connection: close\r\n", b"\r\n",
]  # fmt: skip
_SEEDS = [bytes_of(case["send"]) for case in CASES]
_SEEDS = [seed for seed in _SEEDS if len(seed) < 2000]


def mutated(chance: random.Random) -> bytes:
    """Returns a request with one to three faults."""
    data = chance.choice(_SEEDS)
    for _ in range(chance.randint(1, 3)):
        at, to = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
        lines = data.split(b"\r\n")
        index = chance.randrange(len(lines))
        data = chance.choice(
            [
                data[:at] + chance.choice(_ODD) + data[at:],
                data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :],
                data[:at] + data[min(to, at + 8) :],
                data[:at] + data[at : min(to, at + 40)] + data[at:],
                b"\r\n".join([*lines[:index], lines[index], *lines[index:]]),
                b"\r\n".join([*lines[:index], chance.choice(_FIELDS)[:-2], *lines[index:]]),
                data + chance.choice(_SEEDS),
                data[: max(1, to)],
            ]
        )
    return data


def test_mutated_requests(hurried: Server, upstream: Upstream) -> None:
    chance = random.Random(20261121)
    requests = [mutated(chance) for _ in range(MUTATIONS)]
    before = len(upstream.requests)

    def check(data: bytes) -> None:
        started = time.monotonic()
        responses = parse_responses(hurried.raw(data + b"\r\n\r\n", 2 * PATIENCE))
        assert time.monotonic() - started < PATIENCE, f"a hang: {data!r}"
        for response in responses:
            assert response.status < 500 or response.status in (501, 505), f"{response} for {data!r}"
            check_response(response)

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(check, requests))
    assert hurried.get("/local").seconds < SOON
    assert not [one for one in upstream.requests[before:] if one.path not in ("/json", "/echo")]
    assert "internal_error" not in hurried.text()
