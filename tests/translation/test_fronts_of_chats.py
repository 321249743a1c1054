"""Clients of other APIs read the same from all four rows in front of an OpenAI-compatible server.

For generated responses the server sends a stream, split at generated positions, or one body, and the client
wants a stream or one body. The calls of a stream have an index each, all the same one, or none; with an index
each, their fragments may alternate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from itertools import chain, pairwise, zip_longest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import PlanSet
from tests.support.exchanges import run_offline, shipped
from tests.support.properties import property_settings

SSE, JSON = "text/event-stream", "application/json"

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)
ARGUMENTS = st.dictionaries(st.text("abc", min_size=1, max_size=3), TEXT | st.integers(0, 9), max_size=2)
RESPONSE = st.fixed_dictionaries(
    {
        "text": TEXT,
        "reasoning": TEXT,
        "refusal": TEXT,
        "calls": st.lists(st.tuples(st.sampled_from(["f", "g"]), ARGUMENTS), max_size=3),
        "reason": st.sampled_from(["stop", "length", "tool_calls", "content_filter", "function_call", None]),
        "usage": st.sampled_from(["before", "with", "after", "none"]),  # where a stream has it
        "index": st.sampled_from(["each", "alternating", "same", "none"]),
        "split_at": st.lists(st.integers(0, 400), max_size=4),
    }
)

Response = dict[str, Any]


# --- The server ------------------------------------------------------------------------------------------


def ends(length: int, split_at: list[int]) -> Iterable[tuple[int, int]]:
    """The pieces of something of this length, split at the given positions, without empty ones."""
    positions = [0, *sorted({min(position, length) for position in split_at}), length]
    return [(start, end) for start, end in pairwise(positions) if start < end]


def pieces(text: str, split_at: list[int]) -> list[str]:
    return [text[start:end] for start, end in ends(len(text), split_at)]


def usage_of(response: Response) -> Response:
    counts = {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35}
    details = {"prompt_tokens_details": {"cached_tokens": 20}}
    return {} if response["usage"] == "none" else {"usage": {**counts, **details}}


def calls_of(response: Response) -> list[Response]:
    return [
        {
            "id": f"call_{i}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for i, (name, arguments) in enumerate(response["calls"])
    ]


def fragments(response: Response) -> Iterable[Response]:
    """The fragments of all calls, in the order in which they are sent."""
    calls = [
        list(fragments_of_call(call, i, response["index"], response["split_at"]))
        for i, call in enumerate(calls_of(response))
    ]
    if response["index"] != "alternating":
        return chain.from_iterable(calls)
    return (fragment for group in zip_longest(*calls) for fragment in group if fragment is not None)


def fragments_of_call(call: Response, number: int, kind: str, split_at: list[int]) -> Iterable[Response]:
    index = {} if kind == "none" else {"index": 0 if kind == "same" else number}
    first, *rest = pieces(call["function"]["arguments"], split_at)
    yield {**index, **call, "function": {**call["function"], "arguments": first}}
    for piece in rest:
        yield {**index, "function": {"arguments": piece}}


def chat(response: Response) -> bytes:
    message = {"role": "assistant", "content": response["text"] or None, "reasoning": response["reasoning"]}
    message |= {"refusal": response["refusal"] or None, "tool_calls": calls_of(response)}
    choice = {"index": 0, "message": message, "finish_reason": response["reason"]}
    return json.dumps({"id": "c-1", "choices": [choice], **usage_of(response)}).encode()


def chunks_of_chat(response: Response) -> bytes:
    split_at, usage = response["split_at"], usage_of(response)
    deltas: list[Response] = [{"role": "assistant", "content": ""}]
    for name, field in (("reasoning", "reasoning_content"), ("text", "content"), ("refusal", "refusal")):
        deltas += [{field: piece} for piece in pieces(response[name], split_at)]
    deltas += [{"tool_calls": [fragment]} for fragment in fragments(response)]
    chunks: list[Response] = [{"id": "c-1", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"id": "c-1", "choices": [{"index": 0, "delta": {}, "finish_reason": response["reason"]}]})
    if response["usage"] == "after":
        chunks.append({"id": "c-1", "choices": [], **usage})
    else:
        chunks[0 if response["usage"] == "before" else -1].update(usage)
    return b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"


def events_of(body: bytes) -> list[tuple[str | None, Response]]:
    """The events that a client reads, with their names."""
    found = []
    for event in body.decode().removesuffix("\n\n").split("\n\n"):
        *name, data = event.split("\n")
        found.append(
            (name[0].removeprefix("event: ") if name else None, json.loads(data.removeprefix("data: ")))
        )
    return found


# --- Anthropic -------------------------------------------------------------------------------------------

DELTAS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


def anthropic(body: bytes, stream: bool) -> Response:
    """What a client collects, as Anthropic's SDK does: the index of a block is its position in a list."""
    message = anthropic_message(events_of(body)) if stream else json.loads(body)
    blocks = message["content"]
    assert message["id"].startswith("msg_")
    return {
        "head": {key: message[key] for key in ("type", "role", "model")},
        "text": "".join(block["text"] for block in blocks if block["type"] == "text"),
        "reasoning": "".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        "calls": [
            (block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"
        ],
        "order": [block["type"] for block in blocks],
        "reason": (message["stop_reason"], message["stop_sequence"]),
        "usage": message["usage"],
    }


def anthropic_message(events: list[tuple[str | None, Response]]) -> Response:
    assert [name for name, _ in events] == [event["type"] for _, event in events]
    (_, started), *between, (_, delta), (_, stopped) = events
    assert (started["type"], delta["type"], stopped) == (
        "message_start",
        "message_delta",
        {"type": "message_stop"},
    )
    blocks = anthropic_blocks(event for _, event in between)
    return {**started["message"], "content": blocks, **delta["delta"], "usage": delta["usage"]}


def anthropic_blocks(events: Iterable[Response]) -> list[Response]:
    blocks: list[Response] = []
    is_open = False
    for event in events:
        if event["type"] == "content_block_start":
            assert not is_open
            blocks.append({**event["content_block"], "partial_json": ""})
        is_open = event["type"] != "content_block_stop"
        assert event["index"] == len(blocks) - 1
        if event["type"] == "content_block_delta":
            name = DELTAS[event["delta"]["type"]]
            blocks[-1][name] += event["delta"][name]
    assert not is_open
    return [{**block, "input": json.loads(block["partial_json"] or "{}")} for block in blocks]


# --- Gemini ----------------------------------------------------------------------------------------------


def gemini(body: bytes, stream: bool) -> Response:
    """What a client collects: each event is a response, and the last one has the reason."""
    responses = [event for _, event in events_of(body)] if stream else [json.loads(body)]
    candidates = [response["candidates"][0] for response in responses]
    parts = [part for candidate in candidates for part in candidate.get("content", {}).get("parts", [])]
    assert [bool(candidate.get("finishReason")) for candidate in candidates][-1]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    return {
        "ids": len({response["responseId"] for response in responses}),
        "text": "".join(part["text"] for part in parts if "text" in part and not part.get("thought")),
        "reasoning": "".join(part["text"] for part in parts if part.get("thought")),
        "calls": [(call["id"], call["name"], call["args"]) for call in calls],
        "reason": [candidate["finishReason"] for candidate in candidates if candidate.get("finishReason")],
        "usage": [response["usageMetadata"] for response in responses if response.get("usageMetadata")],
    }


# --- Fronts ----------------------------------------------------------------------------------------------

MESSAGES = [{"role": "user", "content": "x"}]
#: Each front with its path and body, whether a stream is wanted, and what its client collects.
FRONTS: dict[str, tuple[Callable[[bool], tuple[str, Response]], Callable[[bytes, bool], Response]]] = {
    "anthropic": (
        lambda stream: (
            "/v1/messages",
            {"model": "m", "max_tokens": 9, "messages": MESSAGES, "stream": stream},
        ),
        anthropic,
    ),
    "gemini": (
        lambda stream: (
            f"/v1beta/models/m:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}",
            {
                "contents": [{"parts": [{"text": "x"}]}],
                "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
            },
        ),
        gemini,
    ),
}


@cache
def plans_of(front: str) -> PlanSet:
    return shipped(f"{front}-over-openai")


def rows(front: str, response: Response) -> list[Response]:
    """What clients of a front collect from a stream and one body, for each of a stream and one body."""
    request, collect = FRONTS[front]
    stream = chunks_of_chat(response)
    parts = [stream[start:end] for start, end in ends(len(stream), response["split_at"])]
    found = []
    for chunks, media_type in ((parts, SSE), ([chat(response)], JSON)):
        for wants_stream in (True, False):
            outcome = run_offline(plans_of(front), *request(wants_stream), chunks, media_type)
            assert outcome.status == 200, outcome.body
            found.append(collect(outcome.body, wants_stream))
    return found


@pytest.mark.parametrize("front", FRONTS)
@property_settings(100, 300, is_seeded=True)
@given(response=RESPONSE)
def test_clients_read_the_same_from_all_rows(front: str, response: Response) -> None:
    first, *others = rows(front, response)
    assert others == [first] * 3
    assert first["text"] == response["text"] + response["refusal"]
    assert first["reasoning"] == response["reasoning"]
    assert [call[1:] for call in first["calls"]] == response["calls"]
    assert len({call[0] for call in first["calls"]}) == len(response["calls"])


@pytest.mark.parametrize(
    ("reason", "calls", "expected"),
    [
        ("stop", [], "end_turn"),
        ("stop", [("f", {})], "tool_use"),
        ("tool_calls", [("f", {})], "tool_use"),
        ("function_call", [("f", {})], "tool_use"),
        ("tool_calls", [], "end_turn"),
        ("length", [("f", {})], "max_tokens"),
        ("content_filter", [], "refusal"),
        (None, [], "end_turn"),
    ],
)
def test_reasons_and_counts_of_anthropic(reason: str | None, calls: list[Any], expected: str) -> None:
    response = {"text": "", "reasoning": "", "refusal": "", "calls": calls, "index": "each", "split_at": []}
    cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 20}
    for usage, counts in (
        ("after", {"input_tokens": 10, "output_tokens": 5, **cached}),
        ("none", {"input_tokens": 0, "output_tokens": 0}),
    ):
        for row in rows("anthropic", {**response, "reason": reason, "usage": usage}):
            assert row["reason"] == (expected, None)
            assert row["usage"] == counts


@pytest.mark.parametrize(
    ("reason", "calls", "expected"),
    [
        ("stop", [], "STOP"),
        ("tool_calls", [("f", {})], "STOP"),
        ("length", [], "MAX_TOKENS"),
        ("content_filter", [], "SAFETY"),
        (None, [], "STOP"),
    ],
)
def test_reasons_and_counts_of_gemini(reason: str | None, calls: list[Any], expected: str) -> None:
    response = {"text": "", "reasoning": "", "refusal": "", "calls": calls, "index": "each", "split_at": []}
    counts = {"promptTokenCount": 30, "candidatesTokenCount": 5, "totalTokenCount": 35}
    for usage, found in (("with", [{**counts, "cachedContentTokenCount": 20}]), ("none", [])):
        for row in rows("gemini", {**response, "reason": reason, "usage": usage}):
            assert row["reason"] == [expected]
            assert row["usage"] == found


FRAGMENT = st.fixed_dictionaries(
    {},
    optional={
        "index": st.sampled_from([None, 0, 1]),
        "id": st.sampled_from([None, "", "a", "b"]),
        "function": st.fixed_dictionaries(
            {}, optional={"name": st.sampled_from([None, "f", "g"]), "arguments": st.sampled_from(["", "{}"])}
        ),
    },
)
DELTA = st.one_of(
    st.fixed_dictionaries({"content": st.sampled_from(["", "x", "y"])}),
    st.fixed_dictionaries({"reasoning": st.sampled_from(["", "x", "y"])}),
    st.fixed_dictionaries({"tool_calls": st.lists(FRAGMENT, max_size=2)}),
)


@pytest.mark.parametrize("front", FRONTS)
@property_settings(200, 1000, is_seeded=True)
@given(deltas=st.lists(DELTA, max_size=6))
def test_streams_in_any_order_are_read_like_one_body(front: str, deltas: list[Response]) -> None:
    """Servers may send text after calls, calls without names, and indexes in any order."""
    request, collect = FRONTS[front]
    chunks: list[Response] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    sent = [b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in [{"choices": [{}]}, *chunks]]
    plain = run_offline(plans_of(front), *request(False), [*sent, b"data: [DONE]\n\n"], SSE)
    events = run_offline(plans_of(front), *request(True), [*sent, b"data: [DONE]\n\n"], SSE)
    assert events.failed == (plain.status != 200)
    if plain.status == 200:
        expected, got = collect(plain.body, False), collect(events.body, True)
        assert unordered_calls(expected) == unordered_calls(got)
        for name in ("text", "reasoning", "reason"):
            assert expected[name] == got[name]


def unordered_calls(found: Response) -> list[str]:
    """The calls without generated ids, in no order: servers may begin with any index."""
    return sorted(json.dumps(call[1:]) for call in found["calls"])
