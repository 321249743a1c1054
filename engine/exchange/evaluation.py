"""Templates → values, and values → text and bytes.

Contract: whatever a template or a value makes impossible is an `ExchangeError` of the kind that the caller
names, which says whose fault it is; its message says what cannot be translated, its cause why and where.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import EvaluationError, ExchangeError
from engine.exchange.exchange import Exchange
from engine.http.messages import Content
from engine.language.codegen import Compiled, span_of_traceback
from engine.values import JsonError, text

#: What evaluating a template raises where a value does not fit.
FAILURES: Final = (EvaluationError, RecursionError, JsonError)


def evaluate(template: Compiled, payload: Any, exchange: Exchange, kind: str) -> Any:
    """A template's value.

    Raises:
        ExchangeError: of `kind`, with the location of the expression as its cause, where a value has the
        wrong
            type; or the error of `fail()`.
    """
    try:
        return template.function(payload, exchange)
    except FAILURES as error:
        raise untranslatable(error, kind) from None


def untranslatable(error: Exception, kind: str) -> ExchangeError:
    """The failure that one of `FAILURES` is.

    What an expression says of its functions and their types is for the mapping's author: it is in the cause,
    which goes to the log with the location, and not in the message.
    """
    if isinstance(error, EvaluationError):
        shown, why = f": {error.message}" if error.for_client else "", error.message
    else:
        shown, why = ": it is nested too deeply", type(error).__name__
    span = span_of_traceback(error.__traceback__) or getattr(error, "span", None)
    return ExchangeError(kind, f"{_subject(kind)}{shown}", cause=f"{span}: {why}")


def text_of(value: Any, kind: str) -> str:
    """A value as text.

    Raises:
        ExchangeError: of `kind`, where it has none.
    """
    try:
        return text(value)
    except JsonError as error:
        message = f"{_subject(kind)}: a value in text {error.problem}"
        raise ExchangeError(kind, message, cause=str(error)) from None


def write(content: Content, kind: str, what: str) -> bytes:
    """Write a body as bytes, where a failure still has an answer; they stay with it.

    Raises:
        ExchangeError: of `kind`, where `what` the body is of cannot be written.
    """
    try:
        return content.data
    except JsonError as error:
        raise ExchangeError(kind, f"{what} {error.problem}", cause=str(error)) from None


def _subject(kind: str) -> str:
    whose = {"invalid_request": "the request", "upstream_error": "the upstream's answer"}
    return f"{whose.get(kind, 'the failure')} cannot be translated"
