"""Tokens that an exchange used, by direction, if its route has `usage`.

Contract: called once an exchange is over, for metrics only.
"""

from __future__ import annotations

from engine.exchange.run import ExchangeResult
from engine.exchange.usage_counts import usage_counts
from engine.http.messages import CompleteResponse


def usage_of(result: ExchangeResult) -> dict[str, int]:
    """Non-negative integers for `input` and `output`; unknown ones are left out."""
    route, exchange = result.route, result.exchange
    if route is None or route.usage is None:
        return {}
    if result.error is not None and isinstance(result.response, CompleteResponse):
        return {}
    if exchange.usage is not None:
        return exchange.usage
    return usage_counts(route.usage, exchange.upstream_body, exchange)
