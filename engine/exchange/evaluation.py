"""Templates → values, and values → text and bytes.

Contract: every failure is an `ExchangeError` of the kind that the caller passes, which attributes the fault.
Its message contains what cannot be translated, its cause the reason and the location.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import EvaluationError, ExchangeError
from engine.exchange.exchange import Exchange
from engine.http.messages import Content
from engine.language.codegen import Compiled, span_of_traceback
from engine.values import JsonError, text

#: Exceptions of a template that cannot handle a value.
EVALUATION_ERRORS: Final = (EvaluationError, RecursionError, JsonError)


def evaluate(template: Compiled, payload: Any, exchange: Exchange, kind: str) -> Any:
    """The value of a template.

    Raises:
        ExchangeError: of `kind`, with the location of the expression as its cause, if an expression cannot
            handle a value; of any kind from `fail()`.
    """
    try:
        return template.function(payload, exchange)
    except EVALUATION_ERRORS as error:
        raise translation_error(error, kind) from None


def translation_error(error: Exception, kind: str) -> ExchangeError:
    """The error for one of `EVALUATION_ERRORS`.

    Details about functions and types are for the author of the mapping: they are in the cause, which is
    logged with the location, not in the message.
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
        ExchangeError: of `kind`, if it cannot be written as text.
    """
    try:
        return text(value)
    except JsonError as error:
        message = f"{_subject(kind)}: a value in text {error.problem}"
        raise ExchangeError(kind, message, cause=str(error)) from None


def write(content: Content, kind: str, what: str) -> bytes:
    """Encode a body while an error can still be sent; `content` stores the bytes.

    Args:
        what: the subject of the error message, such as "the response".

    Raises:
        ExchangeError: of `kind`, if it cannot be encoded.
    """
    try:
        return content.data
    except JsonError as error:
        raise ExchangeError(kind, f"{what} {error.problem}", cause=str(error)) from None


def _subject(kind: str) -> str:
    subjects = {"invalid_request": "the request", "upstream_error": "the upstream's response"}
    return f"{subjects.get(kind, 'the error')} cannot be translated"
