"""openai-python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai

import checks

client = openai.OpenAI(base_url=f"{checks.server()}/v1", api_key=checks.KEY, max_retries=0)
MESSAGES: list[Any] = [{"role": "user", "content": checks.PROMPT}]


def create(model: str = checks.MODEL, messages: list[Any] = MESSAGES, **parameters: Any) -> Any:
    return client.chat.completions.create(model=model, messages=messages, **parameters)


def pieces(model: str = checks.MODEL) -> Iterator[str | None]:
    for chunk in create(model, stream=True, stream_options={"include_usage": True}):
        yield chunk.choices[0].delta.content if chunk.choices else None


def list_models() -> None:
    assert checks.MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(checks.MODEL).id == checks.MODEL


def chat() -> None:
    checks.is_echo(create().choices[0].message.content)


def stream() -> None:
    checks.streams(pieces())


def tools() -> None:
    first = create(tools=[checks.WEATHER]).choices[0].message
    (call,) = first.tool_calls or []
    result = checks.called(call.function.name, call.function.arguments)
    history = [*MESSAGES, first, {"role": "tool", "tool_call_id": call.id, "content": result}]
    checks.uses_result(create(messages=history, tools=[checks.WEATHER]).choices[0].message.content)


def structured_output() -> None:
    response = client.chat.completions.parse(
        model=checks.MODEL, messages=MESSAGES, response_format=checks.City
    )
    checks.is_city(response.choices[0].message.parsed)


def embeddings() -> None:
    response = client.embeddings.create(model=checks.MODEL, input=checks.TEXTS)
    checks.are_embeddings([item.embedding for item in response.data])


def error_before_stream() -> None:
    checks.fails_before(pieces)


def error_inside_stream() -> None:
    checks.fails_inside(pieces(checks.FAILING_MODEL))


checks.run(["openai"], globals())
