"""OpenAI's chat API in front of providers with APIs of their own: the mappings `openai-over-*`.

They show that a response is described once: a reader for the provider, a template, and the shared writer. The
recordings of these APIs run in `test_transcripts.py`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.exchange import usage_of
from tests.support.exchanges import run_offline, shipped

SSE, JSON = "text/event-stream", "application/json"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def openai(provider: str, chunks: list[bytes], media_type: str, stream: bool) -> Any:
    plans = shipped(f"openai-over-{provider}")
    return run_offline(plans, "/v1/chat/completions", {**CHAT, "stream": stream}, chunks, media_type)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("media_type", [SSE, JSON])
def test_generated_ids_of_tool_calls_differ(media_type: str, stream: bool) -> None:
    """Gemini's calls may have no ids, and clients match results by them."""
    call = {"functionCall": {"name": "f"}}
    sent = json.dumps({"candidates": [{"content": {"parts": [call, call]}, "finishReason": "STOP"}]})
    data = f"data: {sent}\n\n" if media_type == SSE else sent
    body = openai("gemini", [data.encode()], media_type, stream).body.decode()
    ids = [part.split('"')[0] for part in body.split('"id":"call_')[1:]]
    assert len(ids) == 2
    assert len(set(ids)) == 2


@pytest.mark.parametrize("stream", [True, False])
def test_the_tokens_of_the_metrics_are_the_clients(stream: bool) -> None:
    """Anthropic counts cached tokens apart, and reports the output at the end."""
    usage = {"input_tokens": 10, "cache_read_input_tokens": 100, "output_tokens": 1}
    events = [
        {"type": "message_start", "message": {"id": "m", "model": "m", "usage": usage}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 12}},
        {"type": "message_stop"},
    ]
    data = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    outcome = openai("anthropic", [data.encode()], SSE, stream)
    assert usage_of(outcome.result) == {"input": 110, "output": 12}
