"""OpenAI API → Ollama, with cases too many or too large for YAML: values of the wrong type in every field of
requests and responses, long histories, and the work that they take.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from engine import PlanSet
from tests.support.exchanges import Outcome, run_offline, shipped

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
SAMPLING: dict[str, Any] = {
    "n": 1,
    "stream_options": {"include_usage": True},
    "temperature": 0.5,
    "top_p": 1,
    "seed": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "max_tokens": 5,
    "max_completion_tokens": 5,
    "stop": ["x"],
}
CALL = {"id": "a", "index": 0, "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
PARTS = [
    {"type": "text", "text": "one"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}},
    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    {"type": "refusal", "refusal": "no"},
]
#: A request with each field that the mapping reads, and Ollama's response to it, by path.
REQUESTS: dict[str, dict[str, Any]] = {
    CHAT: {
        "model": "m",
        "messages": [
            {"role": "developer", "content": "x", "name": "n"},
            {"role": "user", "content": PARTS},
            {"role": "assistant", "content": None, "refusal": "no", "reasoning": "r", "tool_calls": [CALL]},
            {"role": "assistant", "content": "", "reasoning_content": "r"},
            {"role": "tool", "tool_call_id": "a", "name": "f", "content": "1"},
        ],
        **SAMPLING,
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
        "reasoning_effort": "low",
        "reasoning": {"effort": "low"},
        "logprobs": True,
        "top_logprobs": 1,
    },
    COMPLETIONS: {"model": "m", "prompt": ["a"], "suffix": "b", **SAMPLING, "logprobs": 1},
    EMBEDDINGS: {"model": "m", "input": ["a"], "dimensions": 2, "encoding_format": "base64", "user": "u"},
}
ENDED: dict[str, Any] = {
    "model": "m",
    "created_at": "2024-01-02T10:20:30Z",
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 3,
    "eval_count": 5,
    "logprobs": [{"token": "a", "logprob": -1, "top_logprobs": [{"token": "b", "logprob": -2}]}],
}
OLLAMA_CALL = {"id": "a", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}
RESPONSES: dict[str, dict[str, Any]] = {
    CHAT: {"message": {"role": "assistant", "content": "a", "thinking": "t", "tool_calls": [OLLAMA_CALL]}},
    COMPLETIONS: {"response": "a"},
}
RESPONSES = {path: {**response, **ENDED} for path, response in RESPONSES.items()}
RESPONSES[EMBEDDINGS] = {"model": "m", "embeddings": [[0.5, -1]], "prompt_eval_count": 3}
VALUES: list[Any] = [None, True, 0, 2, -1.5, "", "x", [], [1], [[]], [None], {}, {"a": 1}]
#: Words that appear only in errors about the mapping's own expressions.
ENGINE_WORDS = ("cannot be translated", "()", "as argument", "$each", "expression")


@pytest.fixture(scope="module")
def plans() -> PlanSet:
    return shipped("openai-over-ollama", {"OPENAI_PREFIX": "/"})


def request_with(plans: PlanSet, path: str, body: Any, response: Any = None) -> Outcome:
    sent = RESPONSES[path] if response is None else response
    return run_offline(plans, path, body, [json.dumps(sent).encode()], "application/json")


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to each value within a value; the empty path is first."""
    yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from paths_in(inner, (*path, step))


def changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """A copy with a new value at a path."""
    if not at:
        return new
    result = copy.deepcopy(value)
    parent = result
    for step in at[:-1]:
        parent = parent[step]
    parent[at[-1]] = new
    return result


# --- Values of the wrong type ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", REQUESTS)
@pytest.mark.parametrize("stream", [False, True])
def test_an_invalid_value_in_a_request_is_translated_or_a_client_error(
    plans: PlanSet, path: str, stream: bool
) -> None:
    body = {**REQUESTS[path], "stream": stream}
    assert request_with(plans, path, body).status == 200
    seen = set()
    for at in paths_in(body):
        for value in VALUES:
            exchange = request_with(plans, path, changed(body, at, value))
            seen.add(exchange.status)
            assert exchange.status in (200, 400), (at, value, exchange.body)
            if exchange.status == 400:
                error = json.loads(exchange.body)["error"]
                assert error["type"] == "invalid_request_error"
                assert exchange.request is None, "an invalid request must not be sent"
                assert not any(word in error["message"] for word in ENGINE_WORDS), (at, value, error)
    assert seen == {200, 400}


@pytest.mark.parametrize("path", REQUESTS)
def test_null_in_an_optional_field_means_absence(plans: PlanSet, path: str) -> None:
    body = {**REQUESTS[path], "stream": False}
    for name in body.keys() - {"model", "messages", "input"}:
        with_null, without = {**body, name: None}, {k: v for k, v in body.items() if k != name}
        assert request_with(plans, path, with_null).request == request_with(plans, path, without).request, (
            name
        )


@pytest.mark.parametrize("path", RESPONSES)
@pytest.mark.parametrize("stream", [False, True])
def test_an_invalid_value_in_a_response_is_translated_or_a_bad_gateway(
    plans: PlanSet, path: str, stream: bool
) -> None:
    body = {**REQUESTS[path], "stream": stream}
    for at in paths_in(RESPONSES[path]):
        for value in VALUES:
            exchange = request_with(plans, path, body, changed(RESPONSES[path], at, value) if at else [value])
            assert exchange.status in (200, 502), (at, value, exchange.body)


@pytest.mark.parametrize("path", RESPONSES)
@pytest.mark.parametrize(
    "response", [b"null", b'{"foo":1}', b'{"error":"boom"}', b'{"done":false}', b"[]", b"1", b"{}", b""]
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_malformed_response_is_a_bad_gateway(
    plans: PlanSet, path: str, response: bytes, stream: bool
) -> None:
    exchange = run_offline(plans, path, {**REQUESTS[path], "stream": stream}, [response], "application/json")
    assert exchange.status == 502
    error = json.loads(exchange.body)["error"]
    assert (error["type"], error["param"], error["code"]) == ("api_error", None, None)
    assert (error["message"] == "boom") is (b"boom" in response)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.5+00:00", None, "soon", -1])
def test_an_invalid_creation_time_becomes_the_current_time(
    plans: PlanSet, path: str, time: Any, stream: bool
) -> None:
    body = {**REQUESTS[path], "stream": stream}
    exchange = request_with(plans, path, body, {**RESPONSES[path], "created_at": time})
    events = exchange.body.decode().replace("data: ", "").replace("[DONE]", "").split()
    parsed = [json.loads(event) for event in events]
    assert len({event["created"] for event in parsed}) == 1
    assert parsed[0]["created"] > 1_700_000_000
    assert exchange.result.exchange.warnings == ["created_at is no ISO 8601 time"]


# --- Long histories --------------------------------------------------------------------------------------


def history(pairs: int) -> dict[str, Any]:
    """A chat with this number of tool calls and results."""
    messages: list[dict[str, Any]] = []
    for number in range(pairs):
        function = {"name": f"f{number % 7}", "arguments": "{}"}
        call = {"id": f"c{number}", "type": "function", "function": function}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"c{number}", "content": "ok"})
    return {"model": "m", "messages": messages}


def test_six_thousand_tool_calls_have_matching_results(plans: PlanSet) -> None:
    exchange = request_with(plans, CHAT, history(6000))
    assert exchange.status == 200
    sent = exchange.request["messages"]
    assert [message["tool_name"] for message in sent[1::2]] == [f"f{number % 7}" for number in range(6000)]


def lists(count: int) -> dict[str, tuple[str, Any, Any]]:
    """Exchanges with one long list each: path, request and response."""
    texts = [{"type": "text", "text": "x"}] * count
    images = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}}] * count
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    chat, complete = {"model": "m", "messages": [{"role": "user", "content": "x"}]}, RESPONSES[CHAT]
    called = {**complete, "message": {"tool_calls": [OLLAMA_CALL] * count}}
    completed = {**RESPONSES[COMPLETIONS], "logprobs": ENDED["logprobs"] * count}
    return {
        "calls and results": (CHAT, history(count), complete),
        "messages": (CHAT, {**chat, "messages": chat["messages"] * count}, complete),
        "texts": (CHAT, {**chat, "messages": [{"role": "user", "content": texts}]}, complete),
        "images": (CHAT, {**chat, "messages": [{"role": "user", "content": images}]}, complete),
        "tools": (CHAT, {**chat, "tools": [tool] * count}, complete),
        "stops": (CHAT, {**chat, "stop": ["x"] * count}, complete),
        "calls in a response": (CHAT, chat, called),
        "calls in an event": (CHAT, {**chat, "stream": True}, called),
        "logprobs": (COMPLETIONS, {"model": "m", "prompt": "x"}, completed),
        "embeddings": (EMBEDDINGS, {"model": "m", "input": ["x"] * count}, {"embeddings": [[0.5]] * count}),
    }


def work(plans: PlanSet, path: str, body: Any, response: Any) -> int:
    """The steps of Python's interpreter that an exchange takes: the same on every machine."""
    steps = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        exchange = request_with(plans, path, body, response)
    finally:
        sys.settrace(before)
    assert exchange.status == 200, exchange.body
    return steps


@pytest.mark.parametrize("name", lists(1))
def test_work_is_linear_in_each_list(plans: PlanSet, name: str) -> None:
    once, twice = (work(plans, *lists(count)[name]) for count in (60, 120))
    assert twice <= 2.2 * once
