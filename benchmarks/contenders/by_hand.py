"""A minimal translator: a bare ASGI callable on this project's own upstream client.

The additional time that Dragoman takes is the cost of mappings.

    python -m benchmarks.contenders.by_hand PORT MAPPING
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import orjson
import uvicorn

from benchmarks.contenders import translation
from engine import Findings, compile_set, load, source_files
from engine.client.runner import ExchangeRunner
from engine.client.upstream import Upstream
from engine.http.messages import EMPTY, JSON, Content, UpstreamRequest, UpstreamResponse

PORT, MAPPING = int(sys.argv[1]), sys.argv[2]


def open_upstream(mapping: str) -> Upstream:
    """The upstream of a mapping, opened as by `serve`."""
    findings = Findings()
    plans = compile_set(load(source_files([mapping], findings), findings), {}, findings)
    assert not findings.has_errors, list(findings)
    (found,) = ExchangeRunner(plans)._upstreams.values()
    return found.upstream


upstream = open_upstream(MAPPING)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["path"] == "/v1/models":
        await models(send)
    else:
        await chat(receive, send)


async def lifespan(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await upstream.aclose()
    await send({"type": "lifespan.shutdown.complete"})


async def models(send: Any) -> None:
    response = await upstream.send(UpstreamRequest("up", "GET", "/api/tags", (), EMPTY))
    await send_json(send, translation.models(response.content.value))


async def chat(receive: Any, send: Any) -> None:
    data, more = b"", True
    while more:
        message = await receive()
        data, more = data + message["body"], message["more_body"]
    body = orjson.loads(data)
    wanted = translation.chat_request(body)
    started_ns = time.monotonic_ns()
    content = Content.json(wanted)
    headers = (("content-type", JSON),)
    call = UpstreamRequest("up", "POST", "/v1/chat/completions", headers, content)
    response = await upstream.send(call, wanted["stream"])
    if wanted["stream"]:
        await stream(receive, send, response, translation.ChatStream(body["model"]))
    else:
        await send_json(send, translation.chat_response(response.content.value, body["model"], started_ns))


async def send_json(send: Any, value: Any) -> None:
    data = orjson.dumps(value)
    length = (b"content-length", str(len(data)).encode())
    await start(send, b"application/json", length)
    await send({"type": "http.response.body", "body": data})


async def start(send: Any, media_type: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", media_type), *more]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def stream(receive: Any, send: Any, response: UpstreamResponse, chat: translation.ChatStream) -> None:
    """Write once for each read, until either side ends."""
    disconnected = asyncio.ensure_future(receive())
    await start(send, b"application/x-ndjson")
    rest = b""
    try:
        while not disconnected.done() and (data := await response.source.next()) is not None:
            *lines, rest = (rest + data).split(b"\n")
            if body := b"".join([chat.line(line) for line in lines if line]):
                await send({"type": "http.response.body", "body": body, "more_body": True})
    finally:
        disconnected.cancel()
        await response.source.aclose()
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(app, port=PORT, http="httptools", loop="uvloop", access_log=False, log_level="warning")
