"""The template `usage` of a route → numbers of tokens.

Contract: for metrics only; values that cannot be determined are left out.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange.evaluation import evaluate
from engine.exchange.exchange import Exchange
from engine.plan import RoutePlan

_MAX_COUNT: Final = 1 << 53


def usage_counts(route: RoutePlan, payload: Any, exchange: Exchange) -> dict[str, int]:
    """Non-negative integers for `input` and `output`; unknown ones are left out."""
    assert route.usage is not None
    try:
        found = evaluate(route.usage, payload, exchange, "upstream_error")
    except ExchangeError:
        return {}
    return {key: value for key, value in found.items() if type(value) is int and 0 <= value < _MAX_COUNT}


def note_usage(route: RoutePlan, part: Any, exchange: Exchange) -> None:
    """Take the counts of one partial response of a pipeline, which replace earlier ones."""
    if route.usage is not None:
        exchange.usage = {**(exchange.usage or {}), **usage_counts(route, part, exchange)}
