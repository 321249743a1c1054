"""HTTP/1.1 responses: which are valid, which are refused, and that none contains bytes of another."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.client.http1.response import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_INTERIM,
    MAX_OVERHEAD,
    InvalidResponse,
    ResponseReader,
)
from engine.errors import ExchangeError
from tests.support.calls import both_loops, call, opened, run
from tests.support.properties import property_settings
from tests.support.times import PATIENCE
from tests.support.upstream import Behaviour, Channel, Seen, Upstream, head, json_response, raw

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
FORGED = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nPOISON"
EVERYTHING = 1 << 30


def received(*pieces: bytes, method: str = "GET", eof: bool = True) -> tuple[int, bytes, bool, bool]:
    """Returns status, body, whether there is surplus, and whether it is the last on its connection."""
    response = ResponseReader(method)
    for piece in pieces:
        response.feed(piece)
    if eof:
        response.eof()
    return response.status, response.take(EVERYTHING), response.has_surplus, response.is_last


#: Received bytes → status, body, surplus, last.
SOUND: dict[str, tuple[bytes, tuple[int, bytes, bool, bool]]] = {
    "counted": (OK + b"Content-Length: 3\r\n\r\nabc", (200, b"abc", False, False)),
    "nothing": (OK + b"content-length: 0\r\n\r\n", (200, b"", False, False)),
    "chunks": (CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", (200, b"abcde", False, False)),
    "chunks in capitals": (
        OK + b"Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        (200, b"abc", False, False),
    ),
    "extensions": (CHUNKED + b"3;a=b\r\nabc\r\n0\r\n\r\n", (200, b"abc", False, False)),
    "trailers": (CHUNKED + b"3\r\nabc\r\n0\r\nx: y\r\n\r\n", (200, b"abc", False, False)),
    "until close": (OK + b"\r\nabc", (200, b"abc", False, True)),
    "connection close": (
        OK + b"connection: x, Close\r\ncontent-length: 1\r\n\r\na",
        (200, b"a", False, True),
    ),
    "1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na", (200, b"a", False, True)),
    "1.0 keep-alive": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\na",
        (200, b"a", False, False),
    ),
    "no reason": (b"HTTP/1.1 404\r\ncontent-length: 0\r\n\r\n", (404, b"", False, False)),
    "204": (b"HTTP/1.1 204 X\r\n\r\n", (204, b"", False, False)),
    "304": (b"HTTP/1.1 304 X\r\ncontent-length: 9\r\n\r\n", (304, b"", False, False)),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\n"
        b"HTTP/1.1 199 X\r\n\r\n" + OK + b"content-length: 1\r\n\r\na",
        (200, b"a", False, False),
    ),
    "100 fields": (
        OK + b"x: y\r\n" * (MAX_FIELDS - 1) + b"content-length: 0\r\n\r\n",
        (200, b"", False, False),
    ),
    "surplus": (OK + b"content-length: 3\r\n\r\nabc" + FORGED, (200, b"abc", True, False)),
    "surplus of nothing": (OK + b"content-length: 0\r\n\r\n" + FORGED, (200, b"", True, False)),
    "surplus of chunks": (CHUNKED + b"3\r\nabc\r\n0\r\n\r\n" + FORGED, (200, b"abc", True, False)),
    "garbage after chunks": (CHUNKED + b"3\r\nabc\r\n0\r\n\r\n\0\xff", (200, b"abc", True, False)),
    "204 with a body": (b"HTTP/1.1 204 X\r\n\r\nabc", (204, b"", True, False)),
    "204 with chunks": (
        b"HTTP/1.1 204 X\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        (204, b"", True, False),
    ),
    "304 with a body": (b"HTTP/1.1 304 X\r\ncontent-length: 3\r\n\r\nabc", (304, b"", True, False)),
}

REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 O",
    "half a body": OK + b"content-length: 3\r\n\r\nab",
    "half of chunks": CHUNKED + b"3\r\nabc\r\n",
    "chunks without the last line": CHUNKED + b"3\r\nabc\r\n0\r\n",
    "garbage": b"\x16\x03\x01 no HTTP at all\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/9.9": b"HTTP/9.9 200 OK\r\ncontent-length: 0\r\n\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "empty lines before": b"\r\n\r\n" + OK + b"content-length: 0\r\n\r\n",
    "line feeds": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "99": b"HTTP/1.1 99 X\r\ncontent-length: 0\r\n\r\n",
    "000": b"HTTP/1.1 000 X\r\ncontent-length: 0\r\n\r\n",
    "001": b"HTTP/1.1 001 X\r\ncontent-length: 0\r\n\r\n",
    "099": b"HTTP/1.1 099 X\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "101": b"HTTP/1.1 101 X\r\n\r\n",
    "101 upgraded": b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    "600": b"HTTP/1.1 600 X\r\ncontent-length: 0\r\n\r\n",
    "999": b"HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n",
    "two hundred": b"HTTP/1.1 abc X\r\ncontent-length: 0\r\n\r\n",
    "length and coding": OK + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "coding and length": OK + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two lengths": OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "two lengths in one": OK + b"content-length: 3, 3\r\n\r\nabc",
    "negative length": OK + b"content-length: -1\r\n\r\n",
    "signed length": OK + b"content-length: +1\r\n\r\na",
    "length of 2^64": OK + b"content-length: 18446744073709551616\r\n\r\n",
    "unknown coding": OK + b"transfer-encoding: rot13\r\n\r\nabc",
    "two codings": OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding twice": OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then not": OK + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "coding in 1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad size of chunk": CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
    "size of chunk of 2^68": CHUNKED + b"fffffffffffffffff\r\nabc",
    "space after size": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "chunk too long": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "folded field": OK + b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n",
    "space before colon": OK + b"content-length : 0\r\n\r\n",
    "space in name": OK + b"a b: c\r\ncontent-length: 0\r\n\r\n",
    "NUL in a value": OK + b"a: b\0c\r\ncontent-length: 0\r\n\r\n",
    "CR in a value": OK + b"a: b\rc\r\ncontent-length: 0\r\n\r\n",
    "101 fields": OK + b"x: y\r\n" * (MAX_FIELDS + 1) + b"\r\n",
    "large head": OK + b"x: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n",
    "endless head": OK + b"x: " + b"y" * 10 * MAX_HEAD_BYTES,
    "interim responses": b"HTTP/1.1 100 X\r\n\r\n" * (MAX_INTERIM + 1) + OK + b"content-length: 0\r\n\r\n",
    "endless trailers": CHUNKED + b"0\r\n" + b"x: y\r\n" * MAX_OVERHEAD,
    "endless extension": CHUNKED + b"1;a=" + b"b" * 2 * MAX_OVERHEAD,
}


@pytest.mark.parametrize("name", SOUND)
def test_a_valid_response_split_at_any_byte(name: str) -> None:
    data, expected = SOUND[name]
    assert received(data) == expected
    assert received(*(data[i : i + 1] for i in range(len(data)))) == expected
    for index in range(1, len(data)):
        assert received(data[:index], data[index:]) == expected, index


@pytest.mark.parametrize("name", REFUSED)
def test_an_invalid_response_is_refused_however_it_is_split(name: str) -> None:
    data = REFUSED[name]
    pieces = [data[i : i + 1000] for i in range(0, len(data), 1000)]
    for split in ([data] if data else [], pieces, [data[:40], data[40:]] if len(data) > 40 else []):
        with pytest.raises(InvalidResponse):
            received(*split)
    if len(data) < 2000:
        with pytest.raises(InvalidResponse):
            received(*(data[i : i + 1] for i in range(len(data))))


def test_the_response_to_head_has_no_body() -> None:
    data = OK + b"content-length: 3\r\n\r\n"
    assert received(data, method="HEAD") == (200, b"", False, False)
    assert received(data + b"abc", method="HEAD") == (200, b"", True, False)


@property_settings()
@given(
    st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5), st.sampled_from([b"", OK, CHUNKED])
)
def test_only_invalid_response_is_raised(data: bytes, splits: set[int], start: bytes) -> None:
    data = start + data
    bounds = sorted({0, *(index for index in splits if index < len(data)), len(data)})
    response = ResponseReader("GET")
    try:
        for begin, end in itertools.pairwise(bounds):
            response.feed(data[begin:end])
        response.eof()
    except InvalidResponse:
        return
    assert response.is_complete


def test_the_parts_of_a_body_are_the_complete_body() -> None:
    response = ResponseReader("GET")
    body = random.Random(3).randbytes(10_000)
    response.feed(OK + b"content-length: 10000\r\n\r\n" + body[:7000])
    response.feed(body[7000:])
    parts = []
    while response.chunks:
        parts.append(response.take(999))
        assert response.size == 10_000 - sum(map(len, parts))
    assert b"".join(parts) == body


# --- No response contains bytes of another ---------------------------------------------------------------


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


def poison(data: bytes) -> Behaviour:
    """Returns these bytes followed by a forged response."""
    return raw(data + FORGED)


POISONED: dict[str, tuple[str, bytes]] = {
    "counted": ("GET", head(200, [("content-length", "2")]) + b"{}"),
    "nothing": ("GET", head(200, [("content-length", "0")])),
    "chunked": ("GET", CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"),
    "204": ("GET", head(204)),
    "304": ("GET", head(304, [("content-length", "10")])),
    "head": ("HEAD", head(200, [("content-length", "2")])),
}


@both_loops
@pytest.mark.parametrize("name", POISONED)
def test_no_call_receives_bytes_of_another(upstream: Upstream, loop: str, name: str) -> None:
    method, data = POISONED[name]
    upstream.on("/bad", poison(data))

    async def echoed(up: object, number: int) -> bool:
        value = (await up.send(call(f"/echo?{number}"))).content.value  # type: ignore[attr-defined]
        return bool(value["target"] == f"/echo?{number}")

    async def work() -> None:
        async with opened(upstream.url, connections=4) as up:
            for round_ in range(250):
                calls = [up.send(call("/bad", method)), *(echoed(up, round_ * 3 + i) for i in range(3))]
                bad, *good = await asyncio.gather(*calls)
                assert bad.content.data in (b"", b"{}")  # type: ignore[union-attr]
                assert good == [True] * 3
                assert await echoed(up, -round_)

    run(work, loop)


@both_loops
def test_bytes_on_an_idle_connection_close_it(upstream: Upstream, loop: str) -> None:
    sent = threading.Semaphore(0)

    async def late(channel: Channel, seen: Seen) -> None:
        await channel.send(head(200, [("content-length", "2")]) + b"{}")
        await channel.pause(0.005)
        await channel.send(FORGED)
        sent.release()

    upstream.on("/bad", late)
    upstream.on("/good", json_response({"good": True}))

    async def work() -> None:
        async with opened(upstream.url) as up:
            for _ in range(50):
                await up.send(call("/bad"))
                # The event loop cannot see the bytes, but they have arrived.
                assert sent.acquire(timeout=PATIENCE)
                assert (await up.send(call("/good"))).content.value == {"good": True}

    run(work, loop)
    assert len(upstream.connections) > 50


# --- What is sent ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/a b", ()),
        ("/a\r\nx: y", ()),
        ("/ä", ()),
        ("", ()),
        ("/", (("x", "a\r\nb: c"),)),
        ("/", (("x", "a\nb"),)),
        ("/", (("x", "a\0b"),)),
        ("/", (("x", "\u20ac"),)),
        ("/", (("x y", "a"),)),
        ("/", (("x:y", "a"),)),
        ("/", (("", "a"),)),
    ],
)
def test_an_invalid_request_is_never_sent(
    upstream: Upstream, target: str, headers: tuple[tuple[str, str], ...]
) -> None:
    async def work() -> None:
        async with opened(upstream.url) as up:
            with pytest.raises(ExchangeError):
                await up.send(call(target, headers=headers))
            assert up._pool._free_slots == 200

    run(work)
    assert upstream.connections == []


def test_the_bytes_of_a_request(upstream: Upstream) -> None:
    own = (("x-a", "b"), ("host", "other"), ("content-length", "99"), ("transfer-encoding", "chunked"))

    async def work() -> None:
        async with opened(upstream.url) as up:
            await up.send(call("/a%2Fb?c=%20d", headers=(*own, ("x-latin", "é"), ("connection", "close"))))
            await up.send(call("/", "POST", b""))
            await up.send(call("/", "POST", b"abc"))
            await up.send(call("/", "DELETE"))

    run(work)
    get, empty, post, delete = upstream.requests
    assert (get.method, get.target) == ("GET", "/a%2Fb?c=%20d")
    assert get.headers == [("host", f"127.0.0.1:{upstream.port}"), ("x-a", "b"), ("x-latin", "é")]
    assert (empty.header("content-length"), empty.body) == ("0", b"")
    assert (post.header("content-length"), post.body) == ("3", b"abc")
    assert delete.header("content-length") is None
    assert len(upstream.connections) == 1
