"""Templates → values, and values → text and bytes.

Contract: whatever a template or a value makes impossible is an `ExchangeError` of the kind that the caller
names, which says whose fault it is; its message tells what could not be translated, its cause where.
"""

from __future__ import annotations

from typing import Any

from engine.codegen import Compiled, place
from engine.errors import EvaluationError, ExchangeError
from engine.messages import Content, Exchange
from engine.values import JsonError, text


def evaluate(template: Compiled, payload: Any, exchange: Exchange, kind: str) -> Any:
    """A template's value.

    Raises:
        ExchangeError: of `kind`, with the place of the expression as its cause, where a value does not fit;
            whatever `fail()` says.
    """
    try:
        return template.function(payload, exchange)
    except EvaluationError as error:
        cause = f"{place(error.__traceback__)}: {error.message}"
        raise ExchangeError(kind, f"{_subject(kind)}: {error.message}", cause=cause) from None
    except (RecursionError, JsonError) as error:
        cause = f"{place(error.__traceback__)}: {type(error).__name__}"
        raise ExchangeError(kind, f"{_subject(kind)}: it is nested too deeply", cause=cause) from None


def text_of(value: Any, kind: str) -> str:
    """A value as text.

    Raises:
        ExchangeError: of `kind`, where it has none.
    """
    try:
        return text(value)
    except JsonError as error:
        raise ExchangeError(kind, f"{_subject(kind)}: a value has no text", cause=str(error)) from None


def write(content: Content, kind: str, what: str) -> None:
    """Write a body as bytes, where a failure still has an answer.

    Raises:
        ExchangeError: of `kind`, where `what` the body is of cannot be written.
    """
    try:
        content.data  # noqa: B018 - it is kept
    except JsonError as error:
        raise ExchangeError(kind, f"{what} cannot be written as JSON", cause=str(error)) from None


def _subject(kind: str) -> str:
    whose = {"invalid_request": "the request", "upstream_error": "the upstream's answer"}
    return f"{whose.get(kind, 'the failure')} cannot be translated"
