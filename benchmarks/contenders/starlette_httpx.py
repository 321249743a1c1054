"""A translator in the usual Python stack: Starlette, one shared httpx client, orjson.

python -m benchmarks.contenders.starlette_httpx PORT UPSTREAM
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from benchmarks.contenders import translation

PORT, UPSTREAM = int(sys.argv[1]), sys.argv[2]

client = httpx.AsyncClient(
    base_url=UPSTREAM,
    timeout=60,
    limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
)


def json(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


async def models(request: Request) -> Response:
    response = await client.get("/api/tags")
    response.raise_for_status()
    return json(translation.models(orjson.loads(response.content)))


async def chat(request: Request) -> Response:
    body = orjson.loads(await request.body())
    wanted = translation.chat_request(body)
    started_ns = time.monotonic_ns()
    call = client.build_request("POST", "/v1/chat/completions", json=wanted)
    response = await client.send(call, stream=wanted["stream"])
    response.raise_for_status()
    if wanted["stream"]:
        return StreamingResponse(lines(response, body["model"]), media_type="application/x-ndjson")
    return json(translation.chat_response(orjson.loads(response.content), body["model"], started_ns))


async def lines(response: httpx.Response, model: str) -> AsyncIterator[bytes]:
    stream = translation.ChatStream(model)
    try:
        async for line in response.aiter_lines():
            if made := stream.line(line):
                yield made
    finally:
        await response.aclose()


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with client:
        yield


app = Starlette(
    routes=[Route("/v1/models", models), Route("/api/chat", chat, methods=["POST"])], lifespan=lifespan
)

if __name__ == "__main__":
    uvicorn.run(app, port=PORT, http="httptools", loop="uvloop", access_log=False, log_level="warning")
