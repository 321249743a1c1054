"""Functions with an effect: a warning in the log, an error for the client, a dropped field.

Contract: the text is the author's message; the exchange is known only as `Context`.
This module must not know logs or HTTP.
"""

from __future__ import annotations

from typing import Any, NoReturn

from engine.errors import ExchangeError
from engine.language.functions.registry import NO_COST, Context, function


@function("warn(value: any, message: string) -> any", context=True, pure=False)
def warn(context: Context, value: Any, message: str) -> Any:
    """The value; logs the message as a warning.

    The message is logged verbatim, so it should contain no secret and no private data of the payload.

    Examples:
        warn(`0`, 'no usage received, counted as 0') => 0
        default(`null`, warn('now', 'no time received')) => "now"
    """
    context.warn(message)
    return value


@function("drop(field: any) -> null", lazy=True, context=True, pure=False)
def drop(context: Context, field: Any) -> None:
    """Null; if the field is present, it is reported as dropped.

    Takes the path of a field of the client's body. Use it for a field that the mapping reads but does not
    forward completely, because it supports only some of its values or needs it for another field. A null
    counts as absent.

    Examples:
        drop(keep_alive) => null
        if(tool_choice == 'required', drop(tool_choice)) => null
    """
    if field is not None:
        context.drop("field")


@function("fail(kind: kind, message: string) -> any", pure=False, cost=NO_COST)
def fail(kind: str, message: str) -> NoReturn:
    """End the request with an error of this kind, in the client's error format.

    The kinds and their statuses are those of the error format: `invalid_request`, `not_found` and so on.

    Examples:
        fail('invalid_request', 'model is required') => !invalid_request
        default('gpt-4o', fail('invalid_request', 'model is required')) => "gpt-4o"
    """
    raise ExchangeError(kind, message)
