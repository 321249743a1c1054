"""langchain-openai."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

import checks

SERVER: dict[str, Any] = {"base_url": f"{checks.server()}/v1", "api_key": checks.KEY, "max_retries": 0}


def model(name: str = checks.MODEL) -> ChatOpenAI:
    return ChatOpenAI(model=name, **SERVER)


def pieces(name: str = checks.MODEL) -> Iterator[str | None]:
    for chunk in model(name).stream(checks.PROMPT):
        yield chunk.text


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
    # Without this setting the client sends tokens, which only OpenAI's own models can read.
    client = OpenAIEmbeddings(model=checks.MODEL, check_embedding_ctx_length=False, **SERVER)
    checks.are_embeddings(client.embed_documents(checks.TEXTS))


def error_before_stream() -> None:
    checks.fails_before(pieces)


def error_inside_stream() -> None:
    checks.fails_inside(pieces(checks.FAILING_MODEL))


checks.run(["langchain-openai"], globals())
