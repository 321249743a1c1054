"""langchain-ollama."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings

import checks


def model(name: str = checks.MODEL, **options: Any) -> ChatOllama:
    return ChatOllama(model=name, base_url=checks.server(), **options)


def pieces(name: str = checks.MODEL) -> Iterator[str | None]:
    for chunk in model(name).stream(checks.PROMPT):
        yield chunk.text


def list_models() -> None:
    model(validate_model_on_init=True)
    with checks.fails_with(f"Available local models: {checks.MODEL}"):
        model("no-such-model", validate_model_on_init=True)


def chat() -> None:
    checks.is_echo(model().invoke(checks.PROMPT).text)


def stream() -> None:
    checks.streams(pieces())


def tools() -> None:
    bound = model().bind_tools([checks.get_weather])
    first = bound.invoke(checks.PROMPT)
    (call,) = first.tool_calls
    result = ToolMessage(checks.called(call["name"], call["args"]), tool_call_id=call["id"])
    checks.uses_result(bound.invoke([HumanMessage(checks.PROMPT), first, result]).text)


def structured_output() -> None:
    checks.is_city(model().with_structured_output(checks.City).invoke(checks.PROMPT))


def embeddings() -> None:
    found = OllamaEmbeddings(model=checks.MODEL, base_url=checks.server()).embed_documents(checks.TEXTS)
    checks.are_embeddings(found)


def error_before_stream() -> None:
    checks.fails_before(pieces)


def error_inside_stream() -> None:
    checks.fails_inside(pieces(checks.FAILING_MODEL))


checks.run(["langchain-ollama"], globals())
