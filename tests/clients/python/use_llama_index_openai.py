"""llama-index, with its LLM and embeddings of OpenAI-compatible servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike

import checks

SERVER: dict[str, Any] = {"api_base": f"{checks.server()}/v1", "api_key": checks.KEY, "max_retries": 0}
MESSAGES = [ChatMessage(checks.PROMPT)]


def model(name: str = checks.MODEL, **options: Any) -> OpenAILike:
    can = {"is_chat_model": True, "is_function_calling_model": True}
    return OpenAILike(model=name, context_window=8192, **can, **SERVER, **options)


def pieces(name: str = checks.MODEL) -> Iterator[str | None]:
    for part in model(name).stream_chat(MESSAGES):
        yield part.delta


def chat() -> None:
    checks.is_echo(model().chat(MESSAGES).message.content)
    checks.is_echo(model().complete(checks.PROMPT).text)


def stream() -> None:
    checks.streams(pieces())


def tools() -> None:
    llm, tool = model(), FunctionTool.from_defaults(checks.get_weather)
    first = llm.chat_with_tools([tool], chat_history=[*MESSAGES])
    (call,) = llm.get_tool_calls_from_response(first)
    result = ChatMessage(
        checks.called(call.tool_name, call.tool_kwargs),
        role=MessageRole.TOOL,
        additional_kwargs={"tool_call_id": call.tool_id},
    )
    last = llm.chat_with_tools([tool], chat_history=[*MESSAGES, first.message, result])
    checks.uses_result(last.message.content)


def structured_output() -> None:
    llm = model(should_use_structured_outputs=True).as_structured_llm(checks.City)
    checks.is_city(llm.chat(MESSAGES).raw)


def embeddings() -> None:
    client = OpenAILikeEmbedding(model_name=checks.MODEL, **SERVER)
    checks.are_embeddings(client.get_text_embedding_batch(checks.TEXTS))


def error_before_stream() -> None:
    checks.fails_before(pieces)


def error_inside_stream() -> None:
    checks.fails_inside(pieces(checks.FAILING_MODEL))


checks.run(["llama-index-llms-openai-like", "llama-index-embeddings-openai-like"], globals())
