"""instructor, in OpenAI's API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import instructor
import openai

import checks

MESSAGES: list[Any] = [{"role": "user", "content": checks.PROMPT}]


def client(mode: instructor.Mode = instructor.Mode.JSON_SCHEMA) -> instructor.Instructor:
    server = openai.OpenAI(base_url=f"{checks.server()}/v1", api_key=checks.KEY, max_retries=0)
    return instructor.from_openai(server, mode=mode)


def chat() -> None:
    response = client().create(model=checks.MODEL, messages=MESSAGES, response_model=None)
    checks.is_echo(response.choices[0].message.content)


def partial_cities(name: str = checks.MODEL) -> Iterator[Any]:
    yield from client().create_partial(model=name, messages=MESSAGES, response_model=checks.City)


def stream() -> None:
    parts = list(partial_cities())
    assert len(parts) > 1, parts
    checks.is_city(checks.City.model_validate(parts[-1].model_dump()))


def tools() -> None:
    city = client(instructor.Mode.TOOLS).create(
        model=checks.MODEL, messages=MESSAGES, response_model=checks.City, max_retries=0
    )
    checks.is_city(city)


def structured_output() -> None:
    checks.is_city(
        client().create(model=checks.MODEL, messages=MESSAGES, response_model=checks.City, max_retries=0)
    )


def error_before_stream() -> None:
    checks.fails_before(partial_cities)


def error_inside_stream() -> None:
    with checks.fails_with(checks.FAILURE):  # it has no part yet, as it waits for more of the object
        list(partial_cities(checks.FAILING_MODEL))


checks.run(["instructor"], globals())
