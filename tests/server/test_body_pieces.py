"""A client's body in pieces: each is received on demand, and their total size is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine import ExchangeError
from engine.http.messages import Inbound
from engine.server.app import RequestBody


def receiving(*messages: dict[str, Any]) -> tuple[list[int], Callable[[], Awaitable[Any]]]:
    """Returns an ASGI `receive` and the list of its calls."""
    calls, left = [0], list(messages)

    async def receive() -> dict[str, Any]:
        calls[0] += 1
        return left.pop(0)

    return calls, receive


def piece(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_pieces_are_received_one_by_one() -> None:
    calls, receive = receiving(piece(b"ab"), piece(b""), piece(b"c"), piece(b"", more=False))
    source = RequestBody(Inbound("POST", "/x"), receive, True).open(3)
    assert source is not None
    assert source.length is None
    assert calls == [0]
    assert asyncio.run(source.next()) == b"ab"
    assert calls == [1]
    assert asyncio.run(source.next()) == b"c"
    assert [asyncio.run(source.next()) for _ in range(2)] == [None, None]


def test_the_total_size_of_pieces_is_bounded() -> None:
    _, receive = receiving(piece(b"ab"), piece(b"cd", more=False))
    source = RequestBody(Inbound("POST", "/x"), receive, True).open(3)
    assert source is not None
    assert asyncio.run(source.next()) == b"ab"
    with pytest.raises(ExchangeError) as raised:
        asyncio.run(source.next())
    assert raised.value.kind == "payload_too_large"


def test_an_announced_length_is_checked_at_once() -> None:
    calls, receive = receiving()
    body = RequestBody(Inbound("POST", "/x", headers=(("content-length", "4"),)), receive, True)
    with pytest.raises(ExchangeError):
        body.open(3)
    assert body.open(4).length == 4  # type: ignore[union-attr]
    assert calls == [0]


def test_no_body() -> None:
    _, receive = receiving()
    body = RequestBody(Inbound("GET", "/x"), receive, False)
    assert body.open(3) is None
    assert asyncio.run(body.read(3)).is_empty


def test_a_client_that_disconnects_midway() -> None:
    _, receive = receiving(piece(b"a"), {"type": "http.disconnect"})
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(RequestBody(Inbound("POST", "/x"), receive, True).read(3))
