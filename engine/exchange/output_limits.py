"""What an exchange writes, kept within the bytes of its limits.

Contract: a value is measured before it is written where it could be larger than the bytes that are left: a
template can put one value into many places, which costs nothing until it is written. What is exceeded is told
with the location of the template.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import EvaluationError, ExchangeError
from engine.exchange.evaluation import text_of, untranslatable
from engine.exchange.exchange import Exchange
from engine.language.budget import CONTAINERS, json_size
from engine.language.codegen import Compiled, first_location

#: Names and values of the header fields of one request or response, in characters.
MAX_HEAD: Final = 64 * 1024


def check_size(exchange: Exchange, template: Compiled, value: Any, kind: str) -> int:
    """The most bytes that a template's value takes as JSON, about.

    Raises:
        ExchangeError: of `kind`, where these are more than are left.
    """
    most = template.size_factor * exchange.received + exchange.limits.bytes - exchange.bytes
    if most <= exchange.output or type(value) not in CONTAINERS:
        return most
    most = json_size(value, exchange.output)
    if most > exchange.output:
        raise too_many_bytes(exchange, template, kind)
    return most


def take_output(exchange: Exchange, template: Compiled, size: int, kind: str) -> None:
    """Note bytes that were written.

    Raises:
        ExchangeError: of `kind`, where these are more than were left.
    """
    exchange.output -= size
    if exchange.output < 0:
        raise too_many_bytes(exchange, template, kind)


def too_many_bytes(exchange: Exchange, template: Compiled | None, kind: str) -> ExchangeError:
    """The failure of an exchange that writes more than it may."""
    exchange.output = 0
    return refused(template, f"it writes more than {exchange.limits.bytes} bytes (limits.bytes)", kind)


def refused(template: Compiled | None, message: str, kind: str) -> ExchangeError:
    """The failure of what a template gives, at its location."""
    place = None if template is None else first_location(template)
    return untranslatable(EvaluationError(message, place, for_client=True), kind)


def text_within(exchange: Exchange, template: Compiled, value: Any, kind: str) -> str:
    """A value as text; raises as `text_of` and `check_size`."""
    if type(value) in CONTAINERS and json_size(value, exchange.output) > exchange.output:
        raise too_many_bytes(exchange, template, kind)
    return text_of(value, kind)
