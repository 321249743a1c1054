"""litellm, in Ollama's API."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

# The prices of models are read from the package, not from the internet.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

import checks

MESSAGES: list[Any] = [{"role": "user", "content": checks.PROMPT}]


def completion(model: str = checks.MODEL, messages: list[Any] = MESSAGES, **parameters: Any) -> Any:
    return litellm.completion(
        f"ollama_chat/{model}", messages, api_base=checks.server(), max_retries=0, **parameters
    )


def pieces(model: str = checks.MODEL) -> Iterator[str | None]:
    for chunk in completion(model, stream=True):
        yield chunk.choices[0].delta.content


def list_models() -> None:
    found = litellm.get_valid_models(
        check_provider_endpoint=True, custom_llm_provider="ollama", api_base=checks.server()
    )
    assert f"ollama/{checks.MODEL}" in found, found


def chat() -> None:
    checks.is_echo(completion().choices[0].message.content)


def stream() -> None:
    checks.streams(pieces())


def tools() -> None:
    first = completion(tools=[checks.WEATHER]).choices[0].message
    (call,) = first.tool_calls
    result = checks.called(call.function.name, call.function.arguments)
    history = [*MESSAGES, first, {"role": "tool", "tool_call_id": call.id, "content": result}]
    checks.uses_result(completion(messages=history, tools=[checks.WEATHER]).choices[0].message.content)


def structured_output() -> None:
    text = completion(response_format=checks.City).choices[0].message.content
    checks.is_city(checks.City.model_validate_json(text))


def embeddings() -> None:
    response = litellm.embedding(f"ollama/{checks.MODEL}", checks.TEXTS, api_base=checks.server())
    checks.are_embeddings([item["embedding"] for item in response.data])


def error_before_stream() -> None:
    checks.fails_before(pieces)


def error_inside_stream() -> None:
    checks.fails_inside(pieces(checks.FAILING_MODEL))


checks.run(["litellm"], globals())
