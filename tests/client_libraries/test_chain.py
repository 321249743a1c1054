"""Chained mappings: an Ollama client → Ollama over OpenAI → OpenAI over Ollama → an Ollama server.

The client receives what the server returned, except for fields that OpenAI's API does not have: durations
are measured again, all others are lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import ollama
import pytest

from tests.support.server import Server, dragoman_server
from tests.support.upstream import Channel, Seen, Upstream, complete_response, head

TIME = "2026-01-02T03:04:05Z"
LINES: list[dict[str, Any]] = [
    {"message": {"role": "assistant", "content": "", "thinking": "Let me see."}, "done": False},
    {"message": {"role": "assistant", "content": "Grüße "}, "done": False},
    {"message": {"role": "assistant", "content": "\u2028👋"}, "done": False},
    {
        "message": {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call_1", "function": {"name": "look", "arguments": {"at": "it"}}}],
        },
        "done": False,
    },
    {
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "length",
        "prompt_eval_count": 7,
        "eval_count": 9,
    },
]
#: Fields of this server that OpenAI's API does not have.
LOST = {"created_at", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration"}


async def chat(channel: Channel, seen: Seen) -> None:
    """Returns the lines as a stream or as a complete response."""
    lines = [{"model": "llama3", "created_at": TIME, **line} for line in LINES]
    if seen.json["stream"]:
        body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        start = head(200, [("content-type", "application/x-ndjson"), ("content-length", str(len(body)))])
        await channel.send(start + body)
        return
    messages = [line["message"] for line in LINES]
    whole = {
        **lines[-1],
        "message": {
            "role": "assistant",
            "content": "".join(message["content"] for message in messages),
            "thinking": messages[0]["thinking"],
            "tool_calls": messages[3]["tool_calls"],
        },
    }
    await complete_response(200, json.dumps(whole).encode())(channel, seen)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        running.on("/api/chat", chat)
        yield running


@pytest.fixture(scope="module")
def chained(upstream: Upstream) -> Iterator[Server]:
    environ = {"OPENAI_BASE_URL": "mapping:openai-over-ollama/v1", "OLLAMA_HOST": upstream.url}
    with dragoman_server(("ollama-over-openai", "openai-over-ollama", "demo"), environ) as server:
        yield server


def content_of(parts: list[Any]) -> dict[str, Any]:
    """Returns the complete content of a chat, from the parts of a stream or from one response."""
    messages = [part["message"] for part in parts]
    last = {name: value for name, value in dict(parts[-1]).items() if value is not None}
    calls = [call for message in messages for call in message.get("tool_calls") or []]
    return {
        "content": "".join(message.get("content") or "" for message in messages),
        "thinking": "".join(message.get("thinking") or "" for message in messages),
        "calls": [(call["function"]["name"], dict(call["function"]["arguments"])) for call in calls],
        "end": {name: last[name] for name in set(last) - LOST - {"message"}},
    }


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
def test_the_client_receives_what_the_server_returned(
    upstream: Upstream, chained: Server, stream: bool
) -> None:
    messages = [{"role": "user", "content": "hi"}]
    with ollama.Client(host=upstream.url) as direct, ollama.Client(host=chained.url) as through:
        expected = direct.chat("llama3", messages, stream=stream)
        got = through.chat("llama3", messages, stream=stream)
        far = content_of(list(got) if stream else [got])
        near = content_of(list(expected) if stream else [expected])
    assert far == near
    assert far["content"] == "Grüße \u2028👋"
    requests = [seen.json for seen in upstream.requests[-2:]]
    assert requests[0]["messages"] == requests[1]["messages"]
    assert requests[0]["model"] == requests[1]["model"] == "llama3"
