"""What the scripts of the Python clients share: names, expected values, and the loop that runs the checks.

Contract: a script defines a function for each check that its client has a feature for, named as in `CHECKS`,
and calls `run`. It runs in an environment that has the client, with one argument, the URL of the server, and
prints JSON lines: `{"versions": {package: version}}`, and for each check `{"check": name, "error": text or
null}`. Of this repository it imports this file only.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from pydantic import BaseModel, Field

CHECKS = (
    "list_models",
    "chat",
    "stream",
    "tools",
    "structured_output",
    "embeddings",
    "error_before_stream",
    "error_inside_stream",
)

#: Any key is accepted.
KEY = "any-key"
MODEL = "llama3:latest"
PROMPT = "The quick brown fox"
TEXTS = ["the sun and the moon", "the moon and the sun", "cabbage soup"]

#: Models that fail before the response begins → a part of the upstream's message.
ERRORS = {"no-such-model": "model 'no-such-model' not found", "error-500": "the model returns status 500"}
#: A model whose stream fails after its first words, and the upstream's message.
FAILING_MODEL = "error-stream"
FAILURE = "the model failed"


class City(BaseModel):
    """A city."""

    name: str
    population: int = Field(ge=0)
    kind: Literal["capital", "port", "other"]
    districts: list[str] = Field(min_length=1)


def get_weather(city: str) -> str:
    """Get the weather of a city.

    Args:
        city: the name of the city
    """
    return f"{city}: sunny"


#: The same tool as a JSON Schema.
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "the name of the city"}},
            "required": ["city"],
        },
    },
}


def called(name: str, arguments: Mapping[str, Any] | str) -> str:
    """Calls the tool that the model has chosen; returns its result."""
    assert name == "get_weather", name
    values = json.loads(arguments) if isinstance(arguments, str) else arguments
    assert list(values) == ["city"], values
    assert isinstance(values["city"], str), values
    assert values["city"], values
    return get_weather(**values)


def uses_result(text: str | None) -> None:
    """Checks that a response is based on the result of the tool."""
    assert text is not None
    assert "sunny" in text, text


def is_echo(text: str | None) -> None:
    """Checks that a response has the expected text."""
    assert text == PROMPT, repr(text)


def streams(pieces: Iterable[str | None]) -> None:
    """Checks that a text arrives in more than one piece."""
    found = [piece for piece in pieces if piece]
    assert len(found) > 1, found
    is_echo("".join(found))


def is_city(city: Any) -> None:
    """Checks that a value is a valid city."""
    assert isinstance(city, City), repr(city)


def are_embeddings(vectors: Sequence[Sequence[float]]) -> None:
    """Checks vectors of `TEXTS`: normalised, and similar where the texts have words in common."""
    assert len(vectors) == len(TEXTS), len(vectors)
    for vector in vectors:
        assert math.isclose(math.hypot(*vector), 1, rel_tol=1e-3), math.hypot(*vector)
    same, other = (
        sum(one * two for one, two in zip(vectors[0], vector, strict=True)) for vector in vectors[1:]
    )
    assert 0.5 < same < 0.9999, same
    assert other < same, other


@contextmanager
def fails_with(message: str) -> Iterator[None]:
    """Checks that the block raises an exception with this message."""
    error = None
    try:
        yield
    except Exception as raised:
        error = raised
    assert error is not None, f"no exception; expected one with {message!r}"
    assert message in str(error), f"the exception does not have {message!r}: {error!r}"


def fails_before(pieces: Callable[[str], Iterable[str | None]]) -> None:
    """Checks that the streams of failing models raise the upstream's message.

    Args:
        pieces: calls a model by its name; the pieces of its response.
    """
    for model, message in ERRORS.items():
        with fails_with(message):
            list(pieces(model))


def fails_inside(pieces: Iterable[str | None]) -> None:
    """Checks that a stream has text, and then raises the upstream's message."""
    found: list[str] = []
    with fails_with(FAILURE):
        found.extend(piece for piece in pieces if piece)
    text = "".join(found)
    assert text, "no text before the error"
    assert PROMPT.startswith(text), text


def run(packages: Sequence[str], checks: Mapping[str, Any]) -> None:
    """Runs the checks among the names of a script, and prints the results.

    Args:
        packages: the packages of the client, whose versions to report.
        checks: the globals of the script.
    """
    report({"versions": {package: importlib.metadata.version(package) for package in packages}})
    for name in CHECKS:
        if name in checks:
            report({"check": name, "error": error_of(checks[name])})


def error_of(check: Callable[[], None]) -> str | None:
    try:
        check()
    except BaseException as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


def report(line: Mapping[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def server() -> str:
    """The URL of the server, without a slash at its end."""
    return sys.argv[1]
