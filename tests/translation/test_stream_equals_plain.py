"""Clients read the same from all four rows of a pipeline, for generated upstream responses.

The upstream sends a stream or one body, and the client wants a stream or one body.
"""

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
        "refusal": TEXT,  # counts only without content
        "reason": st.sampled_from(["stop", "length"]),
        "openai_reason": st.sampled_from(["stop", "length", "tool_calls", "content_filter", "function_call"]),
        "usage": st.sampled_from(["before", "with", "after", "none"]),  # where OpenAI's stream has it
        "split_at": st.lists(st.integers(0, 20), max_size=3),
    }
)
SSE, NDJSON, JSON = "text/event-stream", "application/x-ndjson", "application/json"


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


def openai_usage(response: dict[str, Any]) -> dict[str, Any]:
    return {} if response["usage"] == "none" else {"usage": {"prompt_tokens": 3, "completion_tokens": 5}}


def refusal_of(response: dict[str, Any]) -> str:
    return "" if response["content"] else str(response["refusal"])


def openai_plain(response: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": response["content"], "reasoning": response["thinking"]}
    message["refusal"] = refusal_of(response)
    message["tool_calls"] = openai_calls(response)
    choice = {"index": 0, "message": message, "finish_reason": response["openai_reason"]}
    return json.dumps({"created": 1, "choices": [choice], **openai_usage(response)}).encode()


def openai_stream(response: dict[str, Any]) -> bytes:
    split_at = response["split_at"]
    deltas: list[dict[str, Any]] = [{"reasoning": p} for p in pieces(response["thinking"], split_at)]
    deltas += [{"content": p} for p in pieces(response["content"], split_at)]
    deltas += [{"refusal": p} for p in pieces(refusal_of(response), split_at)]
    for call in openai_calls(response):
        function = call["function"]
        deltas.append({"tool_calls": [{**call, "function": {**function, "arguments": ""}}]})
        for piece in pieces(function["arguments"], split_at):
            deltas.append({"tool_calls": [{"index": call["index"], "function": {"arguments": piece}}]})
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": response["openai_reason"]}]})
    usage = openai_usage(response)
    if response["usage"] == "with":
        chunks[-1].update(usage)
    elif usage:
        at = len(chunks) - 1 if response["usage"] == "before" else len(chunks)
        chunks.insert(at, {"choices": [], **usage})
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
def test_ollama_clients_read_the_same_from_all_rows(ollama_front: PlanSet, response: dict[str, Any]) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    found = []
    for data, media_type in ((openai_stream(response), SSE), (openai_plain(response), JSON)):
        for stream in (True, False):
            outcome = run_offline(
                ollama_front, "/api/chat", {**request, "stream": stream}, [data], media_type
            )
            assert outcome.status == 200, outcome.body
            found.append(
                collected_by_ollama([json.loads(line) for line in outcome.body.split(b"\n") if line])
            )
    assert found[1:] == found[:-1]
    assert found[0]["content"] == response["content"] or refusal_of(response)
    assert len(found[0]["calls"]) == len(response["calls"])
    assert found[0]["end"]["eval_count"] == (None if response["usage"] == "none" else 5)


@property_settings(75, 150, is_seeded=True)
@given(response=RESPONSE)
def test_clients_of_the_passed_on_api_read_the_same_from_all_rows(
    ollama_front: PlanSet, response: dict[str, Any]
) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    found = []
    for data, media_type in ((openai_stream(response), SSE), (openai_plain(response), JSON)):
        for stream in (True, False):
            body = {**request, "stream": stream}
            outcome = run_offline(ollama_front, "/v1/chat/completions", body, [data], media_type)
            assert outcome.status == 200, outcome.body
            found.append(collected_by_openai(openai_chunks(outcome.body, stream), merges_calls=True))
    assert found[1:] == found[:-1]
    assert len(found[0]["calls"]) == len(response["calls"])


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


def openai_chunks(body: bytes, stream: bool) -> list[dict[str, Any]]:
    """The chunks that a client reads; a complete response is one."""
    if not stream:
        return [json.loads(body)]
    events = [event.removeprefix("data: ") for event in body.decode().split("\n\n") if event]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


def collected_by_openai(chunks: list[dict[str, Any]], merges_calls: bool = False) -> dict[str, Any]:
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    parts = [choice.get("delta") or choice.get("message") or {} for choice in choices]
    calls = [call for part in parts for call in part.get("tool_calls") or ()]
    if merges_calls:
        calls = merged_calls(calls)
    return {
        "content": "".join(part.get("content") or "" for part in parts),
        "reasoning": "".join(part.get("reasoning") or "" for part in parts),
        "refusal": "".join(part.get("refusal") or "" for part in parts),
        "calls": [(call["index"], call["id"], call["function"]) for call in calls],
        "finish": [choice["finish_reason"] for choice in choices if choice.get("finish_reason")],
        "usage": [chunk["usage"] for chunk in chunks if chunk.get("usage")],
    }


def merged_calls(fragments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    calls: dict[int, dict[str, Any]] = {}
    for fragment in fragments:
        call = calls.setdefault(fragment["index"], {**fragment, "function": {"arguments": ""}})
        arguments = call["function"]["arguments"] + fragment["function"]["arguments"]
        call["function"] = {**call["function"], **fragment["function"], "arguments": arguments}
    return list(calls.values())


@property_settings(75, 150, is_seeded=True)
@given(response=RESPONSE)
def test_openai_clients_read_the_same_from_all_rows(openai_front: PlanSet, response: dict[str, Any]) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    found = []
    for data, media_type in ((ollama_stream(response), NDJSON), (ollama_plain(response), JSON)):
        for stream in (True, False):
            body = {**request, "stream": stream, "stream_options": {"include_usage": True}}
            outcome = run_offline(openai_front, "/v1/chat/completions", body, [data], media_type)
            assert outcome.status == 200, outcome.body
            found.append(collected_by_openai(openai_chunks(outcome.body, stream)))
    assert found[1:] == found[:-1]
    assert found[0]["content"] == response["content"]
    assert len(found[0]["calls"]) == len(response["calls"])
