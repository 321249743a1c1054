"""What an exchange has used, where its route says how that is told: tokens, by direction.

Contract: asked once an exchange is over, for its metrics alone; what cannot be made out counts for nothing.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange.evaluation import evaluate
from engine.exchange.exchange import Exchange
from engine.exchange.run import ExchangeResult
from engine.plan import RoutePlan

_MOST: Final = 1 << 53


def usage_of(result: ExchangeResult) -> dict[str, int]:
    """Whole numbers from 0, by `input` and `output`; those alone that are known."""
    route, exchange = result.route, result.exchange
    if route is None or route.usage is None:
        return {}
    if result.error is not None and result.response.is_complete:
        return {}
    try:
        found = evaluate(route.usage, _payload(route, exchange), exchange, "upstream_error")
    except ExchangeError:
        return {}
    return {key: value for key, value in found.items() if type(value) is int and 0 <= value < _MOST}


def _payload(route: RoutePlan, exchange: Exchange) -> Any:
    """What the upstream said; of a stream, what its rules remember."""
    case = None if exchange.case is None else route.cases[exchange.case]
    if case is not None and (case.stream or case.collect) is not None:
        return exchange.state
    return exchange.upstream_body
