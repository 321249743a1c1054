"""Clients of the Responses API read the same from all four rows in front of chat completions.

For generated responses the upstream sends a stream, split at generated positions, or one body, and the client
wants a stream or one body. What a client builds from the deltas of a stream is what the last event contains.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine import PlanSet
from tests.support.exchanges import run_offline, shipped
from tests.support.properties import property_settings
from tests.translation.test_provider_rows import ARGUMENTS, JSON, SPLITS, SSE, TEXT, pieces, split, sse

REASONS = ["stop", "length", "tool_calls", "content_filter", "function_call", "eos", None]
#: The names of tools in chats.
NAMES = ["f", "net__ping", "patch"]
TOOLS = [
    {"type": "function", "name": "f", "parameters": {"type": "object"}},
    {"type": "namespace", "name": "net", "tools": [{"type": "function", "name": "ping"}]},
    {"type": "custom", "name": "patch"},
]
CHAT = st.fixed_dictionaries(
    {
        "text": TEXT,
        "reasoning": TEXT,
        "refusal": TEXT,
        "calls": st.lists(st.tuples(st.sampled_from(NAMES), ARGUMENTS, TEXT), max_size=3),
        "is_interleaved": st.booleans(),  # the fragments of calls
        "reason": st.sampled_from(REASONS),
        "usage": st.sampled_from(["before", "with", "after", "none"]),
        "split_at": SPLITS,
    }
)
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
#: The events with deltas of texts, and the names of the texts.
DELTAS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "summary",
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}

Value = dict[str, Any]


# --- What the upstream sends -----------------------------------------------------------------------------


def arguments_of(call: tuple[str, Value, str]) -> str:
    """The arguments that a model sends: of a custom tool its input, and nothing where there are none."""
    name, arguments, text = call
    if name == "patch":
        return json.dumps({"input": text})
    return json.dumps(arguments) if arguments else ""


def tool_calls(chat: Value) -> list[Value]:
    """The calls of a complete message."""
    return [
        {
            "index": index,
            "id": f"call_{index}",
            "type": "function",
            "function": {"name": call[0], "arguments": arguments_of(call)},
        }
        for index, call in enumerate(chat["calls"])
    ]


def call_deltas(chat: Value) -> list[Value]:
    """The calls in fragments, one call after another or in turn."""
    runs: list[list[Value]] = []
    for call in tool_calls(chat):
        function = call["function"]
        begun = {**call, "function": {**function, "arguments": ""}}
        rest = pieces(function["arguments"], chat["split_at"])
        runs.append([begun, *({"index": call["index"], "function": {"arguments": piece}} for piece in rest)])
    if not chat["is_interleaved"]:
        return [{"tool_calls": [fragment]} for run in runs for fragment in run]
    longest = max(map(len, runs), default=0)
    return [{"tool_calls": [run[i] for run in runs if i < len(run)]} for i in range(longest)]


def chunks_of(chat: Value) -> bytes:
    """The response as chunks."""
    deltas: list[Value] = [{"role": "assistant", "content": ""}]
    for field, name in (("reasoning", "reasoning"), ("text", "content"), ("refusal", "refusal")):
        deltas += [{name: piece} for piece in pieces(chat[field], chat["split_at"])]
    deltas += call_deltas(chat)
    head = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m-1"}
    events = [{**head, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": chat["reason"]}]})
    if chat["usage"] in ("before", "with"):
        events[0 if chat["usage"] == "before" else -1]["usage"] = USAGE
    if chat["usage"] == "after":
        events.append({**head, "choices": [], "usage": USAGE})
    return sse(events) + b"data: [DONE]\n\n"


def body_of(chat: Value) -> bytes:
    """The response as one body."""
    message = {
        "role": "assistant",
        "content": chat["text"] or None,
        "refusal": chat["refusal"] or None,
        "reasoning_content": chat["reasoning"],
        "tool_calls": tool_calls(chat),
    }
    choice = {"index": 0, "message": message, "finish_reason": chat["reason"]}
    usage = {} if chat["usage"] == "none" else {"usage": USAGE}
    return json.dumps({"id": "c-1", "created": 1, "model": "m-1", "choices": [choice], **usage}).encode()


# --- What a client reads ---------------------------------------------------------------------------------


def read_events(body: bytes) -> list[Value]:
    """The events, in the order of their sequence numbers and without an end marker."""
    events = []
    for block in body.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    return events


def read_response(events: list[Value]) -> Value:
    """The response in the last event; its items are those that were added, done and sent in deltas."""
    first: Value = events[0]["response"]
    last: Value = events[-1]["response"]
    assert events[-1]["type"] == f"response.{last['status']}"
    assert (first["status"], first["output"], first["usage"]) == ("in_progress", [], None)
    assert {event["response"]["id"] for event in events if "response" in event} == {last["id"]}
    items: list[list[Value]] = []
    for event in events[2:-1]:
        if event["type"] == "response.output_item.added":
            items.append([])
        assert event["output_index"] == len(items) - 1  # one item at a time
        items[-1].append(event)
    assert [read_item(found) for found in items] == last["output"]
    return last


def read_item(events: list[Value]) -> Value:
    """The item in the last of its events."""
    added: Value = events[0]["item"]
    done: Value = events[-1]["item"]
    assert events[-1]["type"] == "response.output_item.done"
    assert added["id"] == done["id"]
    assert {event["item_id"] for event in events[1:-1]} == {done["id"]}
    texts: dict[tuple[str, int], str] = {}
    for event in events[1:-1]:
        if event["type"] in DELTAS:
            assert event["delta"]
            number: int = event.get("content_index", event.get("summary_index", 0))
            position = DELTAS[event["type"]], number
            texts[position] = texts.get(position, "") + event["delta"]
    assert texts == {position: text for position, text in texts_of(done).items() if text}
    return done


def texts_of(item: Value) -> dict[tuple[str, int], str]:
    """The texts of an item, by their names in `DELTAS` and their positions."""
    if item["type"] == "message":
        names = [(part["type"].removeprefix("output_"), i) for i, part in enumerate(item["content"])]
        return {(name, i): item["content"][i][name] for name, i in names}
    if item["type"] == "reasoning":
        return {("summary", i): part["text"] for i, part in enumerate(item["summary"])}
    name = "input" if item["type"] == "custom_tool_call" else "arguments"
    return {(name, 0): item[name]}


def without_ids(response: Value) -> Value:
    """The response without what differs from run to run."""
    output = [{key: value for key, value in item.items() if key != "id"} for item in response["output"]]
    assert len({item["id"] for item in response["output"]}) == len(output)
    assert (response["completed_at"] is None) == (response["status"] == "incomplete")
    return {**response, "id": None, "completed_at": None, "output": output}


# --- What it should be -----------------------------------------------------------------------------------


def expected_output(chat: Value, status: str) -> list[Value]:
    """The items without ids; the last one has the status of the response."""
    content: list[Value] = []
    if chat["text"] or not (chat["refusal"] or chat["calls"]):
        content.append({"type": "output_text", "text": chat["text"], "annotations": [], "logprobs": []})
    if chat["refusal"]:
        content.append({"type": "refusal", "refusal": chat["refusal"]})
    summary = [{"type": "summary_text", "text": chat["reasoning"]}]
    items: list[Value] = [{"type": "reasoning", "summary": summary}] if chat["reasoning"] else []
    if content:
        items.append({"type": "message", "role": "assistant", "status": "completed", "content": content})
    items += [expected_call(index, call) for index, call in enumerate(chat["calls"])]
    items[-1]["status"] = status
    return items


def expected_call(index: int, call: tuple[str, Value, str]) -> Value:
    name, _, text = call
    found: Value = {"call_id": f"call_{index}", "status": "completed"}
    if name == "patch":
        return {**found, "type": "custom_tool_call", "name": name, "input": text}
    space = {"namespace": "net"} if name == "net__ping" else {}
    found |= {"type": "function_call", "arguments": arguments_of(call) or "{}"}
    return {**found, **space, "name": name.removeprefix("net__")}


@cache
def plans() -> PlanSet:
    return shipped("responses-over-openai")


@property_settings(100, 300, is_seeded=True)
@given(chat=CHAT)
def test_clients_read_the_same_from_all_rows(chat: Value) -> None:
    found = []
    for chunks, media_type in ((split(chunks_of(chat), chat["split_at"]), SSE), ([body_of(chat)], JSON)):
        for stream in (True, False):
            request = {"model": "m", "input": "x", "tools": TOOLS, "stream": stream}
            outcome = run_offline(plans(), "/v1/responses", request, chunks, media_type)
            assert outcome.status == 200, outcome.body
            read = read_response(read_events(outcome.body)) if stream else json.loads(outcome.body)
            found.append(without_ids(read))
    assert found[1:] == found[:-1]
    is_incomplete = chat["reason"] in ("length", "content_filter")
    status = "incomplete" if is_incomplete else "completed"
    assert found[0]["status"] == status
    assert found[0]["output"] == expected_output(chat, status)
    assert (found[0]["usage"] is None) == (chat["usage"] == "none")


def test_the_time_of_a_held_call_is_linear_in_its_fragments() -> None:
    fragments = [{"index": 1, "function": {"arguments": "x"}}] * 5_000
    begun = [{"index": i, "id": str(i), "function": {"name": "f", "arguments": "{"}} for i in (0, 1)]
    deltas = [{"tool_calls": [fragment]} for fragment in [*begun, *fragments]]
    chunks = sse({"choices": [{"index": 0, "delta": delta}]} for delta in deltas) + b"data: [DONE]\n\n"
    outcome = run_offline(plans(), "/v1/responses", {"model": "m", "input": "x"}, [chunks], SSE)
    assert json.loads(outcome.body)["output"][1]["arguments"] == "{" + "x" * 5_000
