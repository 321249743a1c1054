"""The request and response bodies of the benchmarks.

Contract: plain values, new on each call. Must not know servers or the engine.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

#: Content chunks of an unpaced stream and of a short one.
BURST_CHUNKS = 200
SHORT_CHUNKS = 3
#: Content chunks of a stream that occupies an event loop for a long time.
FLOOD_CHUNKS = 50_000
#: Seconds between two chunks of a paced stream.
PACE_SECONDS = 0.01

CREATED = 1_704_190_830
TEXT = "The quick brown fox jumps over the lazy dog. " * 14
#: 15 MB of text.
LARGE_TEXT = "sky " * 3_750_000
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Why is the sky blue? Explain it in one paragraph."},
]

A_CHUNK = {
    "id": "chatcmpl-8f1b3c2e",
    "object": "chat.completion.chunk",
    "created": CREATED,
    "model": "gpt-4o-mini",
    "system_fingerprint": "fp_44709d6fcb",
    "choices": [{"index": 0, "delta": {"content": " world"}, "logprobs": None, "finish_reason": None}],
}


def models(count: int) -> dict[str, Any]:
    """The response of Ollama's `GET /api/tags`, with timestamps in the forms that servers use."""
    zones = ["Z", "+02:00", "-07:00", "+05:30"]
    return {
        "models": [
            {
                "name": f"model-{i}:latest",
                "model": f"model-{i}:latest",
                "modified_at": f"2025-{i % 12 + 1:02}-{i % 28 + 1:02}T10:{i % 60:02}:30.{i:09}{zones[i % 4]}",
                "size": 4_661_224_676 + i,
                "digest": f"{i:064x}",
                "details": {
                    "parent_model": "",
                    "format": "gguf",
                    "family": "llama",
                    "families": ["llama"],
                    "parameter_size": "8.0B",
                    "quantization_level": "Q4_0",
                },
            }
            for i in range(count)
        ]
    }


def expected_models(count: int) -> list[tuple[str, int]]:
    """The id and Unix time of each model in the translated list."""
    return [
        (model["name"], int(datetime.fromisoformat(model["modified_at"]).timestamp()))
        for model in models(count)["models"]
    ]


def words(count: int) -> list[str]:
    """The content of each chunk of a stream."""
    return [f" word{i}" for i in range(count)]


def usage(count: int) -> dict[str, int]:
    return {"prompt_tokens": 21, "completion_tokens": count, "total_tokens": 21 + count}


# --- OpenAI's API -----------------------------------------------------------------------------------------


def openai_response(content: str = TEXT) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": None}
    return {
        "id": "chatcmpl-8f1b3c2e",
        "object": "chat.completion",
        "created": CREATED,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage(140),
        "system_fingerprint": "fp_44709d6fcb",
    }


def openai_chunk(content: str, finish: str | None = None) -> dict[str, Any]:
    delta = {} if finish else {"content": content}
    return A_CHUNK | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def openai_chunks(count: int) -> list[dict[str, Any]]:
    """A complete stream without its end marker (`[DONE]`)."""
    closing = [openai_chunk("", "stop"), A_CHUNK | {"choices": [], "usage": usage(count)}]
    return [openai_chunk(word) for word in words(count)] + closing


def openai_request(model: str, stream: bool) -> dict[str, Any]:
    return {"model": model, "messages": MESSAGES, "temperature": 0.7, "stream": stream}


# --- Ollama's API -----------------------------------------------------------------------------------------


def ollama_line(content: str, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    line = {"model": "llama3", "created_at": "2024-01-02T10:20:30.123456Z", "message": message, "done": False}
    return line | more


def ollama_last(content: str, count: int) -> dict[str, Any]:
    times = {"total_duration": 4_883_583_458, "load_duration": 1_334_875, "prompt_eval_duration": 342_546_000}
    counts = {"prompt_eval_count": 21, "eval_count": count, "eval_duration": 4_535_599_000}
    return ollama_line(content, done=True, done_reason="stop", **times, **counts)


def ollama_lines(count: int) -> list[dict[str, Any]]:
    """A complete stream."""
    return [*map(ollama_line, words(count)), ollama_last("", count)]


def ollama_request(model: str, stream: bool) -> dict[str, Any]:
    return {"model": model, "messages": MESSAGES, "options": {"temperature": 0.7}, "stream": stream}
