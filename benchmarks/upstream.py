"""A fast stub upstream on loopback, with the same prepared bytes for every contender.

It serves Ollama's list of models, and chats of both APIs. The model's name selects the kind of response to a
chat: see `STREAMS` and `_CHATS`. The content of a paced chunk is the time at which it was sent, in ns of
`time.monotonic_ns()`.

    python -m benchmarks.upstream PORT
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import httptools
import orjson
import uvloop

from benchmarks import payloads

_PACED_CHUNKS = 6000
_STREAMS = 100
_PHASES = itertools.count()
_BACKLOG = 4096


def sse(event: Any) -> bytes:
    return b"data: " + orjson.dumps(event) + b"\n\n"


def ndjson(event: Any) -> bytes:
    return orjson.dumps(event) + b"\n"


def chunk(data: bytes) -> bytes:
    """The data as one chunk of a body (RFC 9112, 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def json_response(body: Any) -> bytes:
    data = orjson.dumps(body)
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(data),
        data,
    )


def head(media_type: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ntransfer-encoding: chunked\r\n\r\n" % media_type


_END = b"0\r\n\r\n"
_SSE = head(b"text/event-stream")
_NDJSON = head(b"application/x-ndjson")


def openai_stream(count: int) -> bytes:
    events = [*map(sse, payloads.openai_chunks(count)), b"data: [DONE]\n\n"]
    return _SSE + b"".join(map(chunk, events)) + _END


def ollama_stream(count: int) -> bytes:
    return _NDJSON + b"".join(chunk(ndjson(line)) for line in payloads.ollama_lines(count)) + _END


def openai_now() -> bytes:
    return chunk(sse(payloads.openai_chunk(str(time.monotonic_ns()))))


def ollama_now() -> bytes:
    return chunk(ndjson(payloads.ollama_line(str(time.monotonic_ns()))))


OPENAI_CHAT, OLLAMA_CHAT = b"/v1/chat/completions", b"/api/chat"

_CHATS = {
    OPENAI_CHAT: {
        "plain": json_response(payloads.openai_response()),
        "short": openai_stream(payloads.SHORT_CHUNKS),
        "burst": openai_stream(payloads.BURST_CHUNKS),
        "flood": openai_stream(payloads.FLOOD_CHUNKS),
        "large": json_response(payloads.openai_response(payloads.LARGE_TEXT)),
    },
    OLLAMA_CHAT: {
        "plain": json_response(payloads.ollama_last(payloads.TEXT, 140)),
        "short": ollama_stream(payloads.SHORT_CHUNKS),
        "burst": ollama_stream(payloads.BURST_CHUNKS),
    },
}
_LISTS = {b"/api/tags": json_response(payloads.models(10))}
_LIVE = {OPENAI_CHAT: (_SSE, openai_now), OLLAMA_CHAT: (_NDJSON, ollama_now)}
_UNKNOWN = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


class UpstreamConnection(asyncio.Protocol):
    """One connection from a proxy."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url, self._body = url, b""

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        if self._url in _LISTS:
            self._transport.write(_LISTS[self._url])
        elif self._url in _CHATS:
            model = orjson.loads(self._body)["model"]
            STREAMS.get(model, UpstreamConnection.prepared)(self, model)
        else:
            self._transport.write(_UNKNOWN)

    def prepared(self, model: str) -> None:
        """The prepared response of a model, or 404."""
        self._transport.write(_CHATS[self._url].get(model, _UNKNOWN))

    def idle(self, model: str) -> None:
        """The first event of a stream, which then stays idle."""
        start, now = _LIVE[self._url]
        self._transport.write(start + now())

    def paced(self, model: str) -> None:
        """An event every `PACE_SECONDS`; the streams are spread evenly over that interval."""
        start, now = _LIVE[self._url]
        self._transport.write(start)
        time_now, phase = asyncio.get_running_loop().time(), next(_PHASES) % _STREAMS / _STREAMS
        self._tick(now, (time_now // payloads.PACE_SECONDS + phase) * payloads.PACE_SECONDS, _PACED_CHUNKS)

    def _tick(self, now: Callable[[], bytes], due: float, left: int) -> None:
        self._transport.write(now() if left else _END)
        if left:
            due += payloads.PACE_SECONDS
            self._timer = asyncio.get_running_loop().call_at(due, self._tick, now, due, left - 1)


#: The streams that are written as time passes, by the name of the model.
STREAMS: dict[str, Callable[[UpstreamConnection, str], None]] = {
    "idle": UpstreamConnection.idle,
    "paced": UpstreamConnection.paced,
}


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(UpstreamConnection, "127.0.0.1", port, backlog=_BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
