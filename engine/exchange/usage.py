"""Tokens that an exchange used, by direction, if its route has `usage`.

Contract: called once an exchange is over, for metrics only; values that cannot be determined are left out.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange.evaluation import evaluate
from engine.exchange.exchange import Exchange
from engine.exchange.run import ExchangeResult
from engine.http.messages import CompleteResponse
from engine.plan import RoutePlan

_MAX_COUNT: Final = 1 << 53


def usage_of(result: ExchangeResult) -> dict[str, int]:
    """Non-negative integers for `input` and `output`; unknown ones are left out."""
    route, exchange = result.route, result.exchange
    if route is None or route.usage is None:
        return {}
    if result.error is not None and isinstance(result.response, CompleteResponse):
        return {}
    try:
        found = evaluate(route.usage, _payload(route, exchange), exchange, "upstream_error")
    except ExchangeError:
        return {}
    return {key: value for key, value in found.items() if type(value) is int and 0 <= value < _MAX_COUNT}


def _payload(route: RoutePlan, exchange: Exchange) -> Any:
    """The payload of `usage`: the upstream's body; for a stream, the state of its rules."""
    case = None if exchange.case is None else route.cases[exchange.case]
    if case is not None and (case.stream or case.collect) is not None:
        return exchange.state
    return exchange.upstream_body
