"""The Responses API by OpenAI's client, over real sockets and through the shipped mapping.

The client builds a response from the events and compares them with its last one, and each event is checked
against the client's types. The upstream is the mock of the shipped mapping `demo`, or a stub of each test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import FunctionToolParam, Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from tests.support.server import dragoman_server
from tests.support.times import PATIENCE
from tests.support.upstream import Behaviour, Upstream, complete_response, json_response

CHAT = "/v1/chat/completions"
PARAMETERS: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "parameters": PARAMETERS,
    "strict": True,
}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


class City(BaseModel):
    city: str


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


def connected(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="x", max_retries=0, timeout=PATIENCE)


@pytest.fixture(scope="module")
def client(upstream: Upstream) -> Iterator[openai.OpenAI]:
    environ = {"OPENAI_BASE_URL": f"{upstream.url}/v1"}
    with (
        dragoman_server(("responses-over-openai",), environ) as server,
        connected(f"{server.url}/v1") as made,
    ):
        yield made


@pytest.fixture(scope="module")
def mocked() -> Iterator[openai.OpenAI]:
    environ = {"OPENAI_BASE_URL": "mapping:demo/v1"}
    with (
        dragoman_server(("responses-over-openai", "demo"), environ) as server,
        connected(f"{server.url}/v1") as made,
    ):
        yield made


def sse(*deltas: dict[str, Any], finish: str | None = "stop", last: Any = None) -> Behaviour:
    """Returns chunks with these deltas, and then `last`, if it is given."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks: list[Any] = [{**head, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks += [last] if last else []
    data = [*(json.dumps(chunk) for chunk in chunks), "[DONE]"]
    text = "".join(f"data: {item}\n\n" for item in data)
    return complete_response(200, text.encode(), "text/event-stream")


def streamed(client: openai.OpenAI, **request: Any) -> Response:
    """The response that the client builds from events, all of which match the client's types."""
    with client.responses.with_streaming_response.create(stream=True, **request) as raw:
        events = [line.removeprefix("data: ") for line in raw.iter_lines() if line.startswith("data: ")]
    for event in events:
        EVENT.validate_json(event, strict=True)
    with client.responses.stream(**request) as stream:
        return stream.get_final_response()


def test_text(mocked: openai.OpenAI) -> None:
    request: dict[str, Any] = {"model": "qwen3:4b", "input": "Hello there", "instructions": "Be brief."}
    whole = mocked.responses.create(**request)
    assert whole.output_text
    assert whole.usage is not None
    assert whole.usage.output_tokens
    assert streamed(mocked, **request).output_text == whole.output_text


def test_a_round_trip_with_a_tool(mocked: openai.OpenAI) -> None:
    question: Any = {"role": "user", "content": "How is the weather?"}
    called = streamed(mocked, model="qwen3:4b", input=[question], tools=[WEATHER]).output[-1]
    assert called.type == "function_call"
    assert called.name == "weather"
    assert json.loads(called.arguments).keys() == {"city"}
    result: Any = {"type": "function_call_output", "call_id": called.call_id, "output": "sunny"}
    history: Any = [question, called.to_dict(), result]
    done = mocked.responses.create(model="qwen3:4b", input=history, tools=[WEATHER])
    assert "sunny" in done.output_text


def test_structured_output(mocked: openai.OpenAI) -> None:
    parsed = mocked.responses.parse(model="qwen3:4b", input="Which city?", text_format=City)
    assert isinstance(parsed.output_parsed, City)


def test_reasoning_and_a_refusal(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.on(CHAT, sse({"reasoning": "Hm"}, {"reasoning": "."}, {"refusal": "I "}, {"refusal": "cannot."}))
    reasoning, message = streamed(client, model="m", input="x").output
    assert reasoning.type == "reasoning"
    assert reasoning.summary[0].text == "Hm."
    assert message.type == "message"
    assert message.content[0].type == "refusal"
    assert message.content[0].refusal == "I cannot."


def test_a_stream_that_fails(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.on(CHAT, sse({"content": "Hi"}, finish=None, last={"error": {"message": "out of memory"}}))
    events = list(client.responses.create(model="m", input="x", stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.error is not None
    assert events[-1].response.error.code == "server_error"
    assert events[-1].response.error.message == "out of memory"


def test_an_error_before_the_response(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.on(CHAT, json_response({"error": {"message": "no such model"}}, 404))
    for stream in (True, False):
        with pytest.raises(openai.NotFoundError, match="no such model"):
            client.responses.create(model="m", input="x", stream=stream)


def test_stored_responses_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="previous_response_id: responses are not stored"):
        client.responses.create(model="m", input="x", previous_response_id="resp_1")
    with pytest.raises(openai.NotFoundError, match="'resp_1' not found"):
        client.responses.retrieve("resp_1")
    with pytest.raises(openai.NotFoundError, match="not stored"):
        client.responses.cancel("resp_1")
