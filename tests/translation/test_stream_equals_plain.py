"""A streaming response contains the same as the complete response, for generated upstream responses."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import PlanSet
from tests.support.exchanges import run_offline, shipped
from tests.support.properties import property_settings

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
ARGUMENTS = st.dictionaries(st.text("abc", min_size=1, max_size=3), TEXT | st.integers(0, 9), max_size=2)
CALL = st.tuples(st.sampled_from(["f", "g"]), ARGUMENTS)
RESPONSE = st.fixed_dictionaries(
    {
        "content": TEXT,
        "thinking": TEXT,
        "calls": st.lists(CALL, max_size=2),
        "reason": st.sampled_from(["stop", "length"]),
        "split_at": st.lists(st.integers(0, 20), max_size=3),
    }
)


@pytest.fixture(scope="module")
def ollama_front() -> PlanSet:
    return shipped("ollama-over-openai")


@pytest.fixture(scope="module")
def openai_front() -> PlanSet:
    return shipped("openai-over-ollama", {"OPENAI_PREFIX": "/"})


def pieces(text: str, split_at: list[int]) -> list[str]:
    """A text split at the given positions, without empty pieces."""
    ends = [0, *sorted({min(position, len(text)) for position in split_at}), len(text)]
    return [text[a:b] for a, b in pairwise(ends) if a < b]


# --- Ollama API → OpenAI-compatible server ---------------------------------------------------------------


def openai_calls(response: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "index": i,
            "id": f"call_{i}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(args)},
        }
        for i, (name, args) in enumerate(response["calls"])
    ]


def openai_plain(response: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": response["content"], "reasoning": response["thinking"]}
    message["tool_calls"] = openai_calls(response)
    choice = {"index": 0, "message": message, "finish_reason": response["reason"]}
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    return json.dumps({"created": 1, "choices": [choice], "usage": usage}).encode()


def openai_stream(response: dict[str, Any]) -> bytes:
    deltas: list[dict[str, Any]] = [
        {"reasoning": p} for p in pieces(response["thinking"], response["split_at"])
    ]
    deltas += [{"content": p} for p in pieces(response["content"], response["split_at"])]
    for call in openai_calls(response):
        function = call["function"]
        deltas.append({"tool_calls": [{**call, "function": {**function, "arguments": ""}}]})
        for piece in pieces(function["arguments"], response["split_at"]):
            deltas.append({"tool_calls": [{"index": call["index"], "function": {"arguments": piece}}]})
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": response["reason"]}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}})
    return b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"


def collected_by_ollama(lines: list[dict[str, Any]]) -> dict[str, Any]:
    messages = [line["message"] for line in lines]
    last = lines[-1]
    return {
        "content": "".join(message.get("content", "") for message in messages),
        "thinking": "".join(message.get("thinking", "") for message in messages),
        "calls": [call for message in messages for call in message.get("tool_calls", [])],
        "end": {name: last.get(name) for name in ("done", "done_reason", "prompt_eval_count", "eval_count")},
    }


@property_settings(75, 150, is_seeded=True)
@given(response=RESPONSE)
def test_ollama_clients_read_the_same_from_both(ollama_front: PlanSet, response: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    streamed = run_offline(ollama_front, "/api/chat", body, [openai_stream(response)], "text/event-stream")
    plain = run_offline(
        ollama_front, "/api/chat", {**body, "stream": False}, [openai_plain(response)], "application/json"
    )
    lines = [json.loads(line) for line in streamed.body.decode().split("\n") if line]
    assert collected_by_ollama(lines) == collected_by_ollama([json.loads(plain.body)])


# --- OpenAI API → Ollama ---------------------------------------------------------------------------------


def ollama_calls(response: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"id": f"call_{i}", "function": {"name": name, "arguments": args}}
        for i, (name, args) in enumerate(response["calls"])
    ]


def ollama_end(response: dict[str, Any]) -> dict[str, Any]:
    counts = {"prompt_eval_count": 3, "eval_count": 5}
    return {"created_at": "2026-01-02T03:04:05Z", "done": True, "done_reason": response["reason"], **counts}


def ollama_plain(response: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": response["content"], "thinking": response["thinking"]}
    message["tool_calls"] = ollama_calls(response)
    return json.dumps({"message": message, **ollama_end(response)}).encode()


def ollama_stream(response: dict[str, Any]) -> bytes:
    messages: list[dict[str, Any]] = [
        {"content": "", "thinking": p} for p in pieces(response["thinking"], response["split_at"])
    ]
    messages += [{"content": p} for p in pieces(response["content"], response["split_at"])]
    messages += [{"content": "", "tool_calls": [call]} for call in ollama_calls(response)]
    lines: list[dict[str, Any]] = [
        {"created_at": "2026-01-02T03:04:05Z", "message": m, "done": False} for m in messages
    ]
    lines.append({"message": {"role": "assistant", "content": ""}, **ollama_end(response)})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def collected_by_openai(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    parts = [choice.get("delta") or choice.get("message") or {} for choice in choices]
    calls = [call for part in parts for call in part.get("tool_calls", [])]
    return {
        "content": "".join(part.get("content") or "" for part in parts),
        "reasoning": "".join(part.get("reasoning") or "" for part in parts),
        "calls": [(call["index"], call["id"], call["function"]) for call in calls],
        "finish": [choice["finish_reason"] for choice in choices if choice["finish_reason"]],
        "usage": [chunk["usage"] for chunk in chunks if chunk.get("usage")],
    }


@property_settings(75, 150, is_seeded=True)
@given(response=RESPONSE)
def test_openai_clients_read_the_same_from_both(openai_front: PlanSet, response: dict[str, Any]) -> None:
    path, body = "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    streaming_body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    streamed = run_offline(
        openai_front, path, streaming_body, [ollama_stream(response)], "application/x-ndjson"
    )
    plain = run_offline(openai_front, path, body, [ollama_plain(response)], "application/json")
    events = [event.removeprefix("data: ") for event in streamed.body.decode().split("\n\n") if event]
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert collected_by_openai(chunks) == collected_by_openai([json.loads(plain.body)])
