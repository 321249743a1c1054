"""llama-index, with its LLM and embeddings of Ollama."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.llms.ollama import Ollama

import checks

MESSAGES = [ChatMessage(checks.PROMPT)]


def model(name: str = checks.MODEL, **options: Any) -> Ollama:
    return Ollama(model=name, base_url=checks.server(), **options)


def pieces(name: str = checks.MODEL) -> Iterator[str | None]:
    # Without the setting the client calls /api/show for it.
    options = {} if name == checks.MODEL else {"context_window": 4096}
    for part in model(name, **options).stream_chat(MESSAGES):
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
    checks.is_city(model().as_structured_llm(checks.City).chat(MESSAGES).raw)


def embeddings() -> None:
    client = OllamaEmbedding(model_name=checks.MODEL, base_url=checks.server())
    checks.are_embeddings(client.get_text_embedding_batch(checks.TEXTS))


def error_before_stream() -> None:
    checks.fails_before(pieces)


def error_inside_stream() -> None:
    checks.fails_inside(pieces(checks.FAILING_MODEL))


checks.run(["llama-index-llms-ollama", "llama-index-embeddings-ollama"], globals())
