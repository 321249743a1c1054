"""One call, with the retries of its upstream's plan.

Contract: the outcome of each try is in `exchange.tried`. A request whose method is not idempotent is retried
only if no connection was established, or if the upstream returned a status of the plan, which means that it
did not process the request.
"""

from __future__ import annotations

import random
import re
from typing import Final

from engine.errors import ExchangeError
from engine.exchange.effects import AcquireRetry, Effects, Release, SendCall, Sleep
from engine.exchange.exchange import Exchange
from engine.exchange.outgoing import outgoing, sent_secrets
from engine.exchange.reports import add_inner_calls, add_inner_dropped
from engine.http.messages import CallOutcome, UpstreamRequest, UpstreamResponse
from engine.http.methods import IDEMPOTENT_METHODS
from engine.plan import MappingPlan, RetryPlan, UpstreamPlan

#: The longest wait for an upstream's Retry-After, in seconds.
_MAX_WAIT: Final = 10.0
_JITTER: Final = 0.25
_SECONDS = re.compile(r"[0-9]{1,4}\Z")


def send(
    mapping: MappingPlan, upstream: UpstreamPlan, request: UpstreamRequest, exchange: Exchange, streams: bool
) -> Effects[UpstreamResponse]:
    """Send a call until it has a response, or may not be retried. Each try is authenticated by itself.

    Raises:
        ExchangeError: there is no response; as `outgoing`.
    """
    attempts = 1 if upstream.retry is None or request.body is not None else upstream.retry.attempts
    for attempt in range(1, attempts + 1):
        is_last = attempt == attempts
        sent = outgoing(upstream, request)
        try:
            response = yield from SendCall(mapping, upstream, sent, streams)
        except ExchangeError as error:
            exchange.tried.append(CallOutcome(upstream.name, error.kind))
            if is_last or not _may_repeat(upstream.retry, request, error.how):
                raise
            if not (yield from AcquireRetry(mapping, upstream)):
                raise
            yield from Sleep(_wait(upstream.retry, attempt))
            continue
        response.used_own_credentials = request.has_credentials
        response.secrets = sent_secrets(upstream, sent) + mapping.secrets
        exchange.tried.append(CallOutcome(upstream.name, response.status))
        add_inner_calls(exchange, upstream, response.report)
        wait = None if is_last else _wait_after(upstream.retry, attempt, response)
        if wait is None or not (yield from AcquireRetry(mapping, upstream)):
            add_inner_dropped(exchange, upstream, response.report)
            return response
        yield from Release(response.source)
        yield from Sleep(wait)
    raise AssertionError("the last try returns or raises")


def _may_repeat(plan: RetryPlan | None, request: UpstreamRequest, how: str | None) -> bool:
    if plan is None or how not in plan.on:
        return False
    return how == "connect" or request.method in IDEMPOTENT_METHODS


def _wait_after(plan: RetryPlan | None, attempt: int, response: UpstreamResponse) -> float | None:
    """Seconds to wait before the next try; None if the response is final."""
    if plan is None or response.status not in plan.on:
        return None
    retry_after = response.header("retry-after")
    if retry_after is None or not _SECONDS.match(retry_after.strip()):
        return _wait(plan, attempt)
    seconds = float(retry_after)
    return seconds if seconds <= _MAX_WAIT else None


def _wait(plan: RetryPlan | None, attempt: int) -> float:
    assert plan is not None
    wait = plan.wait * 2.0 ** (attempt - 1)
    jitter: float = random.uniform(1 - _JITTER, 1 + _JITTER)
    return min(wait * jitter, _MAX_WAIT)
