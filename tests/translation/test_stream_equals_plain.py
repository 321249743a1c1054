"""What a client collects from a stream equals the plain answer, for generated answers of the upstream."""

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
ANSWER = st.fixed_dictionaries(
    {
        "content": TEXT,
        "thinking": TEXT,
        "calls": st.lists(CALL, max_size=2),
        "reason": st.sampled_from(["stop", "length"]),
        "cuts": st.lists(st.integers(0, 20), max_size=3),
    }
)


@pytest.fixture(scope="module")
def ollama_front() -> PlanSet:
    return shipped("ollama-over-openai")


@pytest.fixture(scope="module")
def openai_front() -> PlanSet:
    return shipped("openai-over-ollama", {"OPENAI_PREFIX": "/"})


def pieces(text: str, cuts: list[int]) -> list[str]:
    """A text cut at some places, without empty pieces."""
    ends = [0, *sorted({min(cut, len(text)) for cut in cuts}), len(text)]
    return [text[a:b] for a, b in pairwise(ends) if a < b]


# --- Ollama's clients before an OpenAI server ------------------------------------------------------------


def openai_calls(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "index": i,
            "id": f"call_{i}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(args)},
        }
        for i, (name, args) in enumerate(answer["calls"])
    ]


def openai_plain(answer: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": answer["content"], "reasoning": answer["thinking"]}
    message["tool_calls"] = openai_calls(answer)
    choice = {"index": 0, "message": message, "finish_reason": answer["reason"]}
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    return json.dumps({"created": 1, "choices": [choice], "usage": usage}).encode()


def openai_stream(answer: dict[str, Any]) -> bytes:
    deltas: list[dict[str, Any]] = [{"reasoning": p} for p in pieces(answer["thinking"], answer["cuts"])]
    deltas += [{"content": p} for p in pieces(answer["content"], answer["cuts"])]
    for call in openai_calls(answer):
        function = call["function"]
        deltas.append({"tool_calls": [{**call, "function": {**function, "arguments": ""}}]})
        for piece in pieces(function["arguments"], answer["cuts"]):
            deltas.append({"tool_calls": [{"index": call["index"], "function": {"arguments": piece}}]})
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": answer["reason"]}]})
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
@given(answer=ANSWER)
def test_ollamas_clients_read_the_same(ollama_front: PlanSet, answer: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    streamed = run_offline(ollama_front, "/api/chat", body, [openai_stream(answer)], "text/event-stream")
    plain = run_offline(
        ollama_front, "/api/chat", {**body, "stream": False}, [openai_plain(answer)], "application/json"
    )
    lines = [json.loads(line) for line in streamed.body.decode().split("\n") if line]
    assert collected_by_ollama(lines) == collected_by_ollama([json.loads(plain.body)])


# --- OpenAI's clients before an Ollama server ------------------------------------------------------------


def ollama_calls(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"id": f"call_{i}", "function": {"name": name, "arguments": args}}
        for i, (name, args) in enumerate(answer["calls"])
    ]


def ollama_end(answer: dict[str, Any]) -> dict[str, Any]:
    counts = {"prompt_eval_count": 3, "eval_count": 5}
    return {"created_at": "2026-01-02T03:04:05Z", "done": True, "done_reason": answer["reason"], **counts}


def ollama_plain(answer: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": answer["content"], "thinking": answer["thinking"]}
    message["tool_calls"] = ollama_calls(answer)
    return json.dumps({"message": message, **ollama_end(answer)}).encode()


def ollama_stream(answer: dict[str, Any]) -> bytes:
    messages: list[dict[str, Any]] = [
        {"content": "", "thinking": p} for p in pieces(answer["thinking"], answer["cuts"])
    ]
    messages += [{"content": p} for p in pieces(answer["content"], answer["cuts"])]
    messages += [{"content": "", "tool_calls": [call]} for call in ollama_calls(answer)]
    lines: list[dict[str, Any]] = [
        {"created_at": "2026-01-02T03:04:05Z", "message": m, "done": False} for m in messages
    ]
    lines.append({"message": {"role": "assistant", "content": ""}, **ollama_end(answer)})
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
@given(answer=ANSWER)
def test_openais_clients_read_the_same(openai_front: PlanSet, answer: dict[str, Any]) -> None:
    path, body = "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
    streamed = run_offline(openai_front, path, asked, [ollama_stream(answer)], "application/x-ndjson")
    plain = run_offline(openai_front, path, body, [ollama_plain(answer)], "application/json")
    events = [event.removeprefix("data: ") for event in streamed.body.decode().split("\n\n") if event]
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert collected_by_openai(chunks) == collected_by_openai([json.loads(plain.body)])
