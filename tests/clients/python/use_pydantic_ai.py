"""pydantic-ai, with its models of Ollama and of OpenAI, both in OpenAI's API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openai import AsyncOpenAI
from pydantic_ai import Agent, Embedder, NativeOutput
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider

import checks

client = AsyncOpenAI(base_url=f"{checks.server()}/v1", api_key=checks.KEY, max_retries=0)
MODELS = {
    OllamaModel: OllamaProvider(openai_client=client),
    OpenAIChatModel: OpenAIProvider(openai_client=client),
}


def agents(name: str = checks.MODEL, **options: Any) -> Iterator[Agent[None, Any]]:
    for model, provider in MODELS.items():
        yield Agent(model(name, provider=provider), **options)


def pieces(agent: Agent[None, Any]) -> Iterator[str]:
    yield from agent.run_stream_sync(checks.PROMPT).stream_text(delta=True, debounce_by=None)


def chat() -> None:
    for agent in agents():
        checks.is_echo(agent.run_sync(checks.PROMPT).output)


def stream() -> None:
    for agent in agents():
        checks.streams(pieces(agent))


def tools() -> None:
    for agent in agents(tools=[checks.get_weather]):
        checks.uses_result(agent.run_sync(checks.PROMPT).output)


def structured_output() -> None:
    for output in (NativeOutput(checks.City), checks.City):
        for agent in agents(output_type=output):
            checks.is_city(agent.run_sync(checks.PROMPT).output)


def embeddings() -> None:
    model = OpenAIEmbeddingModel(checks.MODEL, provider=MODELS[OpenAIChatModel])
    checks.are_embeddings(Embedder(model).embed_documents_sync(checks.TEXTS).embeddings)


def error_before_stream() -> None:
    for number in range(len(MODELS)):
        checks.fails_before(lambda name, number=number: pieces([*agents(name)][number]))


def error_inside_stream() -> None:
    for agent in agents(checks.FAILING_MODEL):
        checks.fails_inside(pieces(agent))


checks.run(["pydantic-ai-slim"], globals())
