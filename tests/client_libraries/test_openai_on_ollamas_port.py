"""OpenAI's client and web pages on the port of an Ollama mapping: a real Ollama serves both APIs there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import openai
import pytest

from tests.support.server import Server, dragoman_server
from tests.support.times import PATIENCE
from tests.support.upstream import Behaviour, Upstream, complete_response, json_response

CHAT = "/v1/chat/completions"
ALLOWED = "access-control-allow-origin"
MODELS = {"object": "list", "data": [{"id": "qwen3", "object": "model", "created": 5, "owned_by": "vllm"}]}
MESSAGES: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        running.on("/v1/models", json_response(MODELS))
        yield running


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    environ = {"OPENAI_BASE_URL": f"{upstream.url}/v1", "OLLAMA_ORIGINS": "https://chat.example.com"}
    with dragoman_server(("ollama-over-openai",), environ) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0, timeout=PATIENCE) as made:
        yield made


def sse(events: Iterable[Any], done: bool = True) -> Behaviour:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return complete_response(
        200, "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode(), "text/event-stream"
    )


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["qwen3"]
    assert client.models.retrieve("qwen3:latest").id == "qwen3"
    with pytest.raises(openai.NotFoundError, match="'nope' not found"):
        client.models.retrieve("nope")


def test_a_chat_passes_on_its_complete_request_and_response(
    client: openai.OpenAI, upstream: Upstream
) -> None:
    message = {"role": "assistant", "content": "Yes", "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "q",
        "choices": [choice],
        "x": [None],
    }
    upstream.on(CHAT, json_response(body))
    got = client.chat.completions.create(
        model="qwen3:latest", messages=MESSAGES, logit_bias={"5": 1}, extra_body={"guided": {"a": None}}
    )
    assert got.model_dump(exclude_unset=True) == body
    sent = upstream.requests[-1].json
    assert sent == {"model": "qwen3", "messages": MESSAGES, "logit_bias": {"5": 1}, "guided": {"a": None}}


def test_a_streamed_chat(client: openai.OpenAI, upstream: Upstream) -> None:
    events = [chunk(role="assistant", content=""), chunk(content="Hel"), chunk(content="lo"), chunk("stop")]
    upstream.on(CHAT, sse(events))
    got = list(client.chat.completions.create(model="qwen3", messages=MESSAGES, stream=True))
    assert [part.model_dump(exclude_unset=True) for part in got] == events


def test_a_truncated_stream_is_an_error(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.on(CHAT, sse([chunk(content="Hel")], done=False))
    stream = client.chat.completions.create(model="qwen3", messages=MESSAGES, stream=True)
    assert next(iter(stream)).choices[0].delta.content == "Hel"
    with pytest.raises(openai.APIError, match="ended early"):
        list(stream)


def test_the_code_of_an_error_is_passed_on(client: openai.OpenAI, upstream: Upstream) -> None:
    error = {"message": "too long", "type": "invalid_request_error", "param": "messages", "code": "too_long"}
    upstream.on(CHAT, json_response({"error": error}, 400))
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="qwen3", messages=MESSAGES)
    assert (caught.value.code, caught.value.param) == ("too_long", "messages")


# --- Web pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:3000",
        "https://127.0.0.1:8443",
        "http://0.0.0.0:5173",
        "app://obsidian.md",
        "tauri://localhost",
        "vscode-webview://abc123",
        "vscode-file://vscode-app",
        "https://chat.example.com",
    ],
)
@pytest.mark.parametrize("path", ["/api/chat", CHAT])
def test_origins_that_ollama_allows(server: Server, origin: str, path: str) -> None:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-stainless-os",
    }
    response = server.request("OPTIONS", path, headers=headers)
    assert response.status in (200, 204)
    assert response.header(ALLOWED) == origin
    assert server.request("GET", "/api/tags", headers={"origin": origin}).header(ALLOWED) == origin


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost.evil.example", "null"])
def test_other_origins_are_not_allowed(server: Server, origin: str) -> None:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    assert server.request("OPTIONS", "/api/chat", headers=headers).header(ALLOWED) is None
