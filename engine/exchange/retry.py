"""One call sent, and sent again where its upstream's plan says so.

Contract: what came of each try stands in `exchange.tried`. A method that must not be repeated is sent again
only where no connection came about, or the upstream itself said that it did nothing, by a status of the plan.
"""

from __future__ import annotations

import random
import re
from collections.abc import Generator
from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange.effects import AcquireRetry, Release, SendCall, Sleep, Step
from engine.exchange.exchange import Exchange
from engine.http.messages import UpstreamRequest, UpstreamResponse
from engine.http.methods import IDEMPOTENT_METHODS
from engine.plan import MappingPlan, RetryPlan, UpstreamPlan

#: The longest that an upstream's Retry-After is waited for, in seconds.
_MAX_WAIT: Final = 10.0
_SPREAD: Final = 0.25
_SECONDS = re.compile(r"[0-9]{1,4}\Z")


def send(
    mapping: MappingPlan, upstream: UpstreamPlan, request: UpstreamRequest, exchange: Exchange, streams: bool
) -> Generator[Step, Any, UpstreamResponse]:
    """Send a call until it is answered, or may not be sent again.

    Raises:
        ExchangeError: there is no answer.
    """
    attempts = 1 if upstream.retry is None or request.body is not None else upstream.retry.attempts
    for attempt in range(1, attempts + 1):
        is_last = attempt == attempts
        try:
            response: UpstreamResponse = yield SendCall(mapping, upstream, request, streams)
        except ExchangeError as error:
            exchange.tried.append((upstream.name, error.kind))
            if is_last or not _may_repeat(upstream.retry, request, error.how):
                raise
            if not (yield AcquireRetry(mapping, upstream)):
                raise
            yield Sleep(_wait(upstream.retry, attempt))
            continue
        response.is_about_us, response.secrets = request.has_credentials, mapping.secrets
        exchange.tried.append((upstream.name, response.status))
        wait = None if is_last else _wait_after(upstream.retry, attempt, response)
        if wait is None or not (yield AcquireRetry(mapping, upstream)):
            return response
        yield Release(response.source)
        yield Sleep(wait)
    raise AssertionError("the last try returns or raises")


def _may_repeat(plan: RetryPlan | None, request: UpstreamRequest, how: str | None) -> bool:
    if plan is None or how not in plan.on:
        return False
    return how == "connect" or request.method in IDEMPOTENT_METHODS


def _wait_after(plan: RetryPlan | None, attempt: int, response: UpstreamResponse) -> float | None:
    """How long to wait before the next try; None where the answer is to be taken as it is."""
    if plan is None or response.status not in plan.on:
        return None
    asked = response.header("retry-after")
    if asked is None or not _SECONDS.match(asked.strip()):
        return _wait(plan, attempt)
    seconds = float(asked)
    return seconds if seconds <= _MAX_WAIT else None


def _wait(plan: RetryPlan | None, attempt: int) -> float:
    assert plan is not None
    wait = plan.wait * 2.0 ** (attempt - 1)
    spread: float = random.uniform(1 - _SPREAD, 1 + _SPREAD)
    return min(wait * spread, _MAX_WAIT)
