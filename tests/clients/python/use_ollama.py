"""ollama-python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ollama

import checks

client = ollama.Client(host=checks.server())
MESSAGES: list[Any] = [{"role": "user", "content": checks.PROMPT}]


def pieces(model: str = checks.MODEL) -> Iterator[str | None]:
    for part in client.chat(model, MESSAGES, stream=True):
        yield part.message.content


def list_models() -> None:
    assert checks.MODEL in [model.model for model in client.list().models]
    assert client.show(checks.MODEL).capabilities


def chat() -> None:
    checks.is_echo(client.chat(checks.MODEL, MESSAGES).message.content)
    checks.is_echo(client.generate(checks.MODEL, checks.PROMPT).response)


def stream() -> None:
    checks.streams(pieces())
    checks.streams(part.response for part in client.generate(checks.MODEL, checks.PROMPT, stream=True))


def tools() -> None:
    first = client.chat(checks.MODEL, MESSAGES, tools=[checks.get_weather]).message
    (call,) = first.tool_calls or []
    result = checks.called(call.function.name, call.function.arguments)
    history = [*MESSAGES, first, {"role": "tool", "tool_name": call.function.name, "content": result}]
    checks.uses_result(client.chat(checks.MODEL, history, tools=[checks.get_weather]).message.content)


def structured_output() -> None:
    response = client.chat(checks.MODEL, MESSAGES, format=checks.City.model_json_schema())
    checks.is_city(checks.City.model_validate_json(response.message.content or ""))


def embeddings() -> None:
    checks.are_embeddings(client.embed(checks.MODEL, checks.TEXTS).embeddings)


def error_before_stream() -> None:
    checks.fails_before(pieces)


def error_inside_stream() -> None:
    checks.fails_inside(pieces(checks.FAILING_MODEL))


checks.run(["ollama"], globals())
