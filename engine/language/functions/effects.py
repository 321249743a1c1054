"""Functions that do more than give a value: a warning in the log, an error for the client, a field given up.

Contract: what is told is the author's message; the exchange is known only as `Context`.
This module must not know logs or HTTP.
"""

from __future__ import annotations

from typing import Any, NoReturn

from engine.errors import ExchangeError
from engine.language.functions.registry import NO_COST, Context, function


@function("warn(value: any, message: string) -> any", context=True, pure=False)
def warn(context: Context, value: Any, message: str) -> Any:
    """The value; and the message goes to the log as a warning.

    The message is written as it is, so it should hold no secret and nothing private from the payload.

    Examples:
        warn(`0`, 'no usage came, counted as 0') => 0
        default(`null`, warn('now', 'no time came')) => "now"
    """
    context.warn(message)
    return value


@function("drop(field: any) -> null", lazy=True, context=True, pure=False)
def drop(context: Context, field: Any) -> None:
    """Null; and where the field came, it is named among those that are not carried over.

    It takes a field of the client's body, by its path, and stands where the call is made: for a field that
    the mapping reads all the same, as it can carry over some of its values only, or needs it for another one.
    A null counts as absent.

    Examples:
        drop(keep_alive) => null
        if(tool_choice == 'required', drop(tool_choice)) => null
    """
    if field is not None:
        context.drop("field")


@function("fail(kind: kind, message: string) -> any", pure=False, cost=NO_COST)
def fail(kind: str, message: str) -> NoReturn:
    """End the request with an error of this kind, told to the client in its dialect.

    The kinds, with their statuses, are those of the language's errors: `invalid_request`, `not_found` and so
    on.

    Examples:
        fail('invalid_request', 'model is required') => !invalid_request
        default('gpt-4o', fail('invalid_request', 'model is required')) => "gpt-4o"
    """
    raise ExchangeError(kind, message)
