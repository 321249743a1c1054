"""llm, with the plugin llm-ollama."""

from __future__ import annotations

import os
from collections.abc import Iterator

import checks

os.environ["OLLAMA_HOST"] = checks.server()

import llm
from llm_ollama.models.chat import OllamaChatModel

NAME = f"ollama/{checks.MODEL}"


def pieces(name: str = checks.MODEL) -> Iterator[str | None]:
    # The models that fail are not listed by the server, so that llm does not know their names.
    failing = OllamaChatModel(model_id=name, ollama_name=name, capabilities=["completion"])
    model = llm.get_model(NAME) if name == checks.MODEL else failing
    yield from model.prompt(checks.PROMPT)


def list_models() -> None:
    assert NAME in [model.model_id for model in llm.get_models()]


def chat() -> None:
    checks.is_echo(llm.get_model(NAME).prompt(checks.PROMPT, stream=False).text())


def stream() -> None:
    checks.streams(pieces())


def tools() -> None:
    results: list[str] = []

    def get_weather(city: str) -> str:
        """Get the weather of a city."""
        results.append(checks.called("get_weather", {"city": city}))
        return results[-1]

    text = llm.get_model(NAME).chain(checks.PROMPT, tools=[get_weather]).text()
    assert len(results) == 1, results
    checks.uses_result(text)


def structured_output() -> None:
    text = llm.get_model(NAME).prompt(checks.PROMPT, schema=checks.City).text()
    checks.is_city(checks.City.model_validate_json(text))


def embeddings() -> None:
    checks.are_embeddings(list(llm.get_embedding_model(NAME).embed_multi(checks.TEXTS)))


def error_before_stream() -> None:
    checks.fails_before(pieces)


def error_inside_stream() -> None:
    checks.fails_inside(pieces(checks.FAILING_MODEL))


checks.run(["llm", "llm-ollama"], globals())
