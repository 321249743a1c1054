"""Long requests and responses, Ollama API → OpenAI-compatible server: correct translation in linear work.

Work is measured in bytecode instructions, which are the same on every machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from engine import PlanSet
from tests.support.exchanges import Outcome, run_offline, shipped

SIZE = 60
RESPONSE = [json.dumps({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}).encode()]


@pytest.fixture(scope="module")
def plans() -> PlanSet:
    return shipped("ollama-over-openai")


def pair(number: int, with_ids: bool, with_names: bool) -> list[dict[str, Any]]:
    """A tool call and its result."""
    call: dict[str, Any] = {"function": {"name": f"f{number % 3}", "arguments": {}}}
    result: dict[str, Any] = {"role": "tool", "content": str(number)}
    if with_ids:
        call["id"] = result["tool_call_id"] = f"id{number}"
    if with_names:
        result["tool_name"] = f"f{number % 3}"
    return [{"role": "assistant", "content": "", "tool_calls": [call]}, result]


def session(pairs: int, with_ids: bool = False, with_names: bool = True) -> dict[str, Any]:
    messages = [each for number in range(pairs) for each in pair(number, with_ids, with_names)]
    return {"model": "m", "stream": False, "messages": messages}


def chat(plans: PlanSet, body: dict[str, Any]) -> Outcome:
    return run_offline(plans, "/api/chat", body, RESPONSE, "application/json")


@pytest.mark.parametrize(("with_ids", "with_names"), [(True, False), (False, True), (False, False)])
def test_six_thousand_tool_calls_have_matching_results(
    plans: PlanSet, with_ids: bool, with_names: bool
) -> None:
    exchange = chat(plans, session(6000, with_ids, with_names))
    assert exchange.status == 200
    messages = exchange.request["messages"]
    assert len(messages) == 12_000
    ids = [message["tool_calls"][0]["id"] for message in messages[::2]]
    assert ids == [message["tool_call_id"] for message in messages[1::2]]
    assert len(set(ids)) == 6000


def chunks(deltas: list[dict[str, Any]]) -> list[bytes]:
    events = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return [*(f"data: {json.dumps(event)}\n\n".encode() for event in events), b"data: [DONE]\n\n"]


def calls(count: int) -> list[dict[str, Any]]:
    return [{"index": n, "id": f"c{n}", "function": {"name": "f", "arguments": "{}"}} for n in range(count)]


def stream_of_calls(plans: PlanSet, count: int) -> Outcome:
    """All calls in one event: tests of the engine cover state that grows over many events."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    return run_offline(plans, "/api/chat", body, chunks([{"tool_calls": calls(count)}]), "text/event-stream")


def plain_of_calls(plans: PlanSet, count: int) -> Outcome:
    body = {"model": "m", "stream": False, "messages": [{"role": "user", "content": "x"}]}
    message = {"content": None, "tool_calls": calls(count)}
    return run_offline(
        plans,
        "/api/chat",
        body,
        [json.dumps({"choices": [{"message": message}]}).encode()],
        "application/json",
    )


def calls_of_one_message(plans: PlanSet, count: int) -> Outcome:
    made = [{"function": {"name": "f", "arguments": {}}} for _ in range(count)]
    results = [{"role": "tool", "content": "r", "tool_name": "f"} for _ in range(count)]
    return chat(
        plans,
        {"model": "m", "stream": False, "messages": [{"role": "assistant", "tool_calls": made}, *results]},
    )


def parts(plans: PlanSet, count: int) -> Outcome:
    content = [{"type": "text", "text": "x"}] * count
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    return run_offline(plans, "/api/chat", body, chunks([{"content": content}]), "text/event-stream")


def embeddings(plans: PlanSet, count: int) -> Outcome:
    data = [{"index": n, "embedding": [1.0]} for n in range(count)]
    return run_offline(
        plans,
        "/api/embed",
        {"model": "m", "input": ["x"] * count},
        [json.dumps({"data": data}).encode()],
        "application/json",
    )


def shown(plans: PlanSet, count: int) -> Outcome:
    data = [{"id": f"m{n}"} for n in range(count)]
    return run_offline(
        plans,
        "/api/show",
        {"model": f"m{count - 1}"},
        [json.dumps({"data": data}).encode()],
        "application/json",
    )


def logprobs(plans: PlanSet, count: int) -> Outcome:
    values = {"tokens": ["a"] * count, "token_logprobs": [0.5] * count, "top_logprobs": [{"b": 1.0}] * count}
    body = {"model": "m", "prompt": "x", "raw": True, "stream": False}
    choice = {"text": "x", "logprobs": values}
    return run_offline(
        plans, "/api/generate", body, [json.dumps({"choices": [choice]}).encode()], "application/json"
    )


def instructions(act: Callable[[], object]) -> int:
    """The number of bytecode instructions that a function executes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "act",
    [
        lambda plans, count: chat(plans, session(count, with_ids=True)),
        lambda plans, count: chat(plans, session(count)),
        lambda plans, count: chat(plans, session(count, with_names=False)),
        calls_of_one_message,
        plain_of_calls,
        stream_of_calls,
        parts,
        embeddings,
        shown,
        logprobs,
    ],
)
def test_work_is_linear(plans: PlanSet, act: Callable[[PlanSet, int], Outcome]) -> None:
    assert act(plans, SIZE).status == 200
    once = instructions(lambda: act(plans, SIZE))
    twice = instructions(lambda: act(plans, 2 * SIZE))
    assert once > 10 * SIZE, "the trace must count the work"
    assert twice < 2.2 * once
