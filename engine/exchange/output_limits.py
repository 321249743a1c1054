"""Limits on the bytes that an exchange writes.

Contract: a value that could exceed the remaining bytes is measured before it is written: a template can use
one value many times, which costs nothing until it is written. Errors name the location of the template.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import EvaluationError, ExchangeError
from engine.exchange.evaluation import text_of, translation_error
from engine.exchange.exchange import Exchange
from engine.language.budget import CONTAINERS, json_size
from engine.language.codegen import Compiled, first_location

#: Names and values of the header fields of one request or response, in characters.
MAX_HEAD: Final = 64 * 1024


def check_size(exchange: Exchange, template: Compiled, value: Any, kind: str) -> int:
    """An upper bound for the size of a template's value as JSON, roughly, in bytes.

    Raises:
        ExchangeError: of `kind`, if it exceeds the bytes that are left.
    """
    max_size = template.size_factor * exchange.received + exchange.limits.bytes - exchange.bytes
    if max_size <= exchange.output or type(value) not in CONTAINERS:
        return max_size
    max_size = json_size(value, exchange.output)
    if max_size > exchange.output:
        raise too_many_bytes(exchange, template, kind)
    return max_size


def take_output(exchange: Exchange, template: Compiled, size: int, kind: str) -> None:
    """Subtract written bytes from the bytes that are left.

    Raises:
        ExchangeError: of `kind`, if they exceed them.
    """
    exchange.output -= size
    if exchange.output < 0:
        raise too_many_bytes(exchange, template, kind)


def too_many_bytes(exchange: Exchange, template: Compiled | None, kind: str) -> ExchangeError:
    """The error of an exchange that exceeds its output limit."""
    exchange.output = 0
    return output_error(template, f"it writes more than {exchange.limits.bytes} bytes (limits.bytes)", kind)


def output_error(template: Compiled | None, message: str, kind: str) -> ExchangeError:
    """The error for the output of a template, with its location."""
    location = None if template is None else first_location(template)
    return translation_error(EvaluationError(message, location, for_client=True), kind)


def bounded_text(exchange: Exchange, template: Compiled, value: Any, kind: str) -> str:
    """A value as text; raises the errors of `text_of` and `check_size`."""
    if type(value) in CONTAINERS and json_size(value, exchange.output) > exchange.output:
        raise too_many_bytes(exchange, template, kind)
    return text_of(value, kind)
