"""The shipped chat mappings report token usage for metrics, for streaming and complete responses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.exchange import usage_of
from tests.support.exchanges import run_offline, shipped

COUNTS = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
OPENAI = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": COUNTS}
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
OLLAMA = {"model": "m", "created_at": "2024-01-02T10:20:30Z", "done": True, "done_reason": "stop"}
ENDED = {**OLLAMA, "prompt_eval_count": 11, "eval_count": 7}


def events(*chunks: dict[str, Any]) -> bytes:
    return (
        b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    )


def lines(*values: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


STREAM = events(
    {**CHUNK, "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]},
    {**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {**CHUNK, "choices": [], "usage": COUNTS},
)
COMPLETE = {**OPENAI, "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}
MESSAGES = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
MESSAGE = {**OLLAMA, "message": {"role": "assistant", "content": "hi"}, "done": False}


@pytest.mark.parametrize(
    ("mapping", "path", "body", "response", "media_type"),
    [
        ("ollama-over-openai", "/api/chat", {**MESSAGES, "stream": False}, COMPLETE, "application/json"),
        ("ollama-over-openai", "/api/chat", MESSAGES, STREAM, "text/event-stream"),
        ("ollama-over-openai", "/api/generate", {"model": "m", "prompt": "x"}, STREAM, "text/event-stream"),
        (
            "openai-over-ollama",
            "/v1/chat/completions",
            MESSAGES,
            {**MESSAGE, **ENDED},
            "application/json",
        ),
        (
            "openai-over-ollama",
            "/v1/chat/completions",
            {**MESSAGES, "stream": True},
            lines(MESSAGE, {**ENDED, "message": {"role": "assistant", "content": ""}}),
            "application/x-ndjson",
        ),
        (
            "openai-over-ollama",
            "/v1/completions",
            {"model": "m", "prompt": "x"},
            {**ENDED, "response": "hi"},
            "application/json",
        ),
        (
            "openai-over-ollama",
            "/v1/completions",
            {"model": "m", "prompt": "x", "stream": True},
            lines({**OLLAMA, "response": "hi", "done": False}, {**ENDED, "response": ""}),
            "application/x-ndjson",
        ),
    ],
)
def test_token_usage_is_reported(mapping: str, path: str, body: Any, response: Any, media_type: str) -> None:
    plans = shipped(mapping, {"OPENAI_PREFIX": "/"})
    data = response if isinstance(response, bytes) else json.dumps(response).encode()
    exchange = run_offline(plans, path, body, [data], media_type)
    assert exchange.status == 200
    assert usage_of(exchange.result) == {"input": 11, "output": 7}
