"""Clients of OpenAI's API read the same from all four rows in front of four other APIs.

For generated responses the upstream sends a stream, split at generated positions, or one body, and the client
wants a stream or one body.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import PlanSet
from engine.codecs import FRAMINGS
from tests.support.exchanges import run_offline, shipped
from tests.support.properties import property_settings

SSE, JSON = "text/event-stream", "application/json"

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)
ARGUMENTS = st.dictionaries(st.text("abc", min_size=1, max_size=3), TEXT | st.integers(0, 9), max_size=2)
SPLITS = st.lists(st.integers(0, 400), max_size=4)
RESPONSE = st.fixed_dictionaries(
    {
        "text": TEXT,
        "thinking": TEXT,
        "calls": st.lists(st.tuples(st.sampled_from(["f", "g"]), ARGUMENTS), max_size=3),
        "reason": st.integers(0, 20),  # an index into the provider's reasons
        "usage": st.sampled_from(
            ["before", "with", "after", "none"]
        ),  # where a stream has it, if it can choose
        "split_at": SPLITS,
    }
)

Response = dict[str, Any]


def pieces(text: str, split_at: list[int]) -> list[str]:
    """A text split at the given positions, without empty pieces."""
    ends = [0, *sorted({min(position, len(text)) for position in split_at}), len(text)]
    return [text[a:b] for a, b in pairwise(ends) if a < b]


def sse(events: Iterable[Response]) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)


def split(data: bytes, split_at: list[int]) -> list[bytes]:
    ends = [0, *sorted({min(position, len(data)) for position in split_at}), len(data)]
    return [data[a:b] for a, b in pairwise(ends) if a < b]


# --- Anthropic -------------------------------------------------------------------------------------------

ANTHROPIC_REASONS = [
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
]


def anthropic(response: Response) -> tuple[bytes, bytes]:
    """A message as a stream and as one body. Its stream always has counts at both ends."""
    reason = ANTHROPIC_REASONS[response["reason"] % len(ANTHROPIC_REASONS)]
    blocks: list[Response] = [{"type": "thinking", "thinking": response["thinking"], "signature": "s"}]
    blocks += [{"type": "text", "text": response["text"]}] if response["text"] else []
    blocks += [
        {"type": "tool_use", "id": f"toolu_{i}", "name": name, "input": arguments}
        for i, (name, arguments) in enumerate(response["calls"])
    ]
    usage = {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 5}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
    plain = {**head, "content": blocks, "stop_reason": reason, "stop_sequence": None, "usage": usage}
    started = {**head, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    events: list[Response] = [{"type": "message_start", "message": started}, {"type": "ping"}]
    for index, block in enumerate(blocks):
        events += anthropic_block(index, block, response["split_at"])
    ending = {"stop_reason": reason, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": ending, "usage": {"output_tokens": 5}})
    return sse([*events, {"type": "message_stop"}]), json.dumps(plain).encode()


def anthropic_block(index: int, block: Response, split_at: list[int]) -> Iterable[Response]:
    """The events of one content block; the arguments of a tool are pieces of JSON."""
    kind = block["type"]
    begun = {**block, **({"input": {}} if kind == "tool_use" else {kind: ""})}
    begun.pop("signature", None)
    yield {"type": "content_block_start", "index": index, "content_block": begun}
    deltas: list[Response]
    if kind == "tool_use":
        text = json.dumps(block["input"]) if block["input"] else ""
        parts = ["", *pieces(text, split_at)]
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    else:
        deltas = [{"type": f"{kind}_delta", kind: piece} for piece in pieces(block[kind], split_at)]
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


# --- Gemini ----------------------------------------------------------------------------------------------

GEMINI_REASONS = [
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "FINISH_REASON_UNSPECIFIED",
]


def gemini(response: Response) -> tuple[bytes, bytes]:
    """A response as a stream and as one body. Each call is whole; the counts are in any event."""
    split_at, head = response["split_at"], {"responseId": "r-1", "modelVersion": "m"}
    reason = GEMINI_REASONS[response["reason"] % len(GEMINI_REASONS)]
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 4, "thoughtsTokenCount": 1, "totalTokenCount": 8}
    counts = {} if response["usage"] == "none" else {"usageMetadata": usage}
    thought: list[Response] = [
        {"text": piece, "thought": True} for piece in pieces(response["thinking"], split_at)
    ]
    text: list[Response] = [{"text": piece} for piece in pieces(response["text"], split_at)]
    calls: list[Response] = [
        {"functionCall": {"id": f"call-{i}", "name": name, "args": arguments}}
        for i, (name, arguments) in enumerate(response["calls"])
    ]
    parts = [*thought, *text, *calls]
    candidate = {"content": {"parts": parts, "role": "model"}, "finishReason": reason, "index": 0}
    events: list[Response] = [
        {**head, "candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}]}
        for part in parts
    ]
    events.append({**head, "candidates": [{"finishReason": reason, "index": 0}]})
    if response["usage"] == "after":
        events.append({**head, **counts})
    else:
        events[0 if response["usage"] == "before" else -1].update(counts)
    return sse(events), json.dumps({**head, "candidates": [candidate], **counts}).encode()


# --- Cohere ----------------------------------------------------------------------------------------------

COHERE_REASONS = ["COMPLETE", "STOP_SEQUENCE", "MAX_TOKENS", "TOOL_CALL"]


def cohere(response: Response) -> tuple[bytes, bytes]:
    """A response as a stream and as one body. A call without arguments has none, null or an object."""
    split_at, counts = response["split_at"], {"tokens": {"input_tokens": 3, "output_tokens": 5}}
    ending: Response = {"finish_reason": COHERE_REASONS[response["reason"] % len(COHERE_REASONS)]}
    ending |= {} if response["usage"] == "none" else {"usage": counts}
    content = [{"type": "thinking", "thinking": response["thinking"]}] if response["thinking"] else []
    content += [{"type": "text", "text": response["text"]}] if response["text"] else []
    calls = [
        {"id": f"f_{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for i, (name, arguments) in enumerate(response["calls"])
    ]
    message: Response = {"role": "assistant", "content": content, "tool_calls": calls}
    events: list[Response] = [{"type": "message-start", "id": "c-1", "delta": {"message": {"content": []}}}]
    for block in content:
        kind = block["type"]
        events.append(cohere_event("content-start", content={"type": kind, kind: ""}))
        events += [cohere_event("content-delta", content={kind: p}) for p in pieces(block[kind], split_at)]
        events.append({"type": "content-end", "index": 0})
    for call in calls:
        events += cohere_call(call, split_at)
    events.append({"type": "message-end", "delta": ending})
    return sse(events), json.dumps({"id": "c-1", "message": message, **ending}).encode()


def cohere_event(kind: str, **message: Any) -> Response:
    return {"type": kind, "index": 0, "delta": {"message": message}}


def cohere_call(call: Response, split_at: list[int]) -> Iterable[Response]:
    function = call["function"]
    yield cohere_event("tool-call-start", tool_calls={**call, "function": {**function, "arguments": ""}})
    for piece in pieces(function["arguments"], split_at):
        yield cohere_event("tool-call-delta", tool_calls={"function": {"arguments": piece}})
    yield {"type": "tool-call-end", "index": 0}


# --- Bedrock ---------------------------------------------------------------------------------------------

BEDROCK_REASONS = [
    "end_turn",
    "tool_use",
    "max_tokens",
    "stop_sequence",
    "guardrail_intervened",
    "content_filtered",
    "malformed_model_output",
    "model_context_window_exceeded",
]


def bedrock(response: Response) -> tuple[bytes, bytes]:
    """A response as binary messages and as one body."""
    split_at, usage = response["split_at"], {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}
    reason = BEDROCK_REASONS[response["reason"] % len(BEDROCK_REASONS)]
    counts = {} if response["usage"] == "none" else {"usage": usage}
    blocks: list[Response] = [{"reasoningContent": {"reasoningText": {"text": response["thinking"]}}}]
    blocks.append({"text": response["text"]})
    blocks += [
        {"toolUse": {"toolUseId": f"t{i}", "name": name, "input": arguments}}
        for i, (name, arguments) in enumerate(response["calls"])
    ]
    events: list[tuple[str, Response]] = [("messageStart", {"role": "assistant"})]
    events += [
        ("contentBlockDelta", {"delta": {"reasoningContent": {"text": piece}}})
        for piece in pieces(response["thinking"], split_at)
    ]
    events += [
        ("contentBlockDelta", {"delta": {"text": piece}}) for piece in pieces(response["text"], split_at)
    ]
    for block in blocks[2:]:
        events += bedrock_call(block["toolUse"], split_at)
    ending: list[tuple[str, Response]] = [
        ("messageStop", {"stopReason": reason}),
        ("metadata", {"metrics": {}, **counts}),
    ]
    events += reversed(ending) if response["usage"] == "before" else ending
    encoder = FRAMINGS["aws_events"].encoder()
    stream = b"".join(encoder.encode(json.dumps(data).encode(), name) for name, data in events)
    message = {"role": "assistant", "content": blocks}
    return stream, json.dumps({"output": {"message": message}, "stopReason": reason, **counts}).encode()


def bedrock_call(call: Response, split_at: list[int]) -> Iterable[tuple[str, Response]]:
    """The events of one call; one without arguments has no pieces."""
    text = json.dumps(call["input"]) if call["input"] else ""
    yield "contentBlockStart", {"start": {"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}}}
    for piece in pieces(text, split_at):
        yield "contentBlockDelta", {"delta": {"toolUse": {"input": piece}}}
    yield "contentBlockStop", {"contentBlockIndex": 1}


# --- What a client reads ---------------------------------------------------------------------------------


def collected(body: bytes, stream: bool) -> Response:
    """What a client collects from chunks; a complete response is one."""
    chunks = [json.loads(body)] if not stream else read_chunks(body)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    parts = [choice.get("delta") or choice.get("message") or {} for choice in choices]
    return {
        "ids": len({(chunk["id"], chunk["model"]) for chunk in chunks}),
        "role": [part["role"] for part in parts if part.get("role")],
        "text": "".join(part.get("content") or "" for part in parts),
        "reasoning": "".join(part.get("reasoning") or "" for part in parts),
        "calls": calls_of(parts),
        "finish": [choice["finish_reason"] for choice in choices if choice.get("finish_reason")],
        "usage": [chunk["usage"] for chunk in chunks if chunk.get("usage")],
    }


def read_chunks(body: bytes) -> list[Response]:
    events = [event.removeprefix("data: ") for event in body.decode().split("\n\n") if event]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


def calls_of(parts: list[Response]) -> dict[int, tuple[str, str, Any]]:
    """The tool calls by index: id, name and arguments."""
    calls: dict[int, list[str]] = {}
    for fragment in (call for part in parts for call in part.get("tool_calls") or ()):
        call = calls.setdefault(fragment["index"], ["", "", ""])
        call[0] += fragment.get("id") or ""
        call[1] += fragment["function"].get("name") or ""
        call[2] += fragment["function"].get("arguments") or ""
    return {index: (call[0], call[1], json.loads(call[2])) for index, call in calls.items()}


#: Each provider with the media type of its streams.
PROVIDERS: dict[str, tuple[Callable[[Response], tuple[bytes, bytes]], str]] = {
    "anthropic": (anthropic, SSE),
    "gemini": (gemini, SSE),
    "cohere": (cohere, SSE),
    "bedrock": (bedrock, "application/vnd.amazon.eventstream"),
}


@cache
def plans_of(provider: str) -> PlanSet:
    return shipped(f"openai-over-{provider}")


@pytest.mark.parametrize("provider", PROVIDERS)
@property_settings(100, 300, is_seeded=True)
@given(response=RESPONSE)
def test_clients_read_the_same_from_all_rows(provider: str, response: Response) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    make, framing = PROVIDERS[provider]
    events, plain = make(response)
    found = []
    for chunks, media_type in ((split(events, response["split_at"]), framing), ([plain], JSON)):
        for stream in (True, False):
            body = {**request, "stream": stream, "stream_options": {"include_usage": True}}
            outcome = run_offline(plans_of(provider), "/v1/chat/completions", body, chunks, media_type)
            assert outcome.status == 200, outcome.body
            found.append(collected(outcome.body, stream))
    assert found[1:] == found[:-1]
    first = found[0]
    assert (first["text"], first["reasoning"]) == (response["text"], response["thinking"])
    assert [call[1:] for call in first["calls"].values()] == response["calls"]
    assert len(first["finish"]) == 1
    assert len(first["usage"]) == (response["usage"] != "none" or provider == "anthropic")
