"""A complete exchange: the client's key and body, the attempts of the route, and errors.

Contract: every exchange ends with a response, whatever its runner sends or throws into it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, TypeAlias

from engine.errors import Defect, ExchangeError, release_frames
from engine.exchange.builtin_responses import builtin_response
from engine.exchange.caching import cached_response, exchange_key, is_cacheable
from engine.exchange.call import build_request, select_call, select_upstream
from engine.exchange.effects import (
    CacheLookup,
    CacheStore,
    CheckHealth,
    Effects,
    ReadBody,
    ReadContent,
    Release,
)
from engine.exchange.errors import error_response
from engine.exchange.evaluation import evaluate
from engine.exchange.event_stream import Response
from engine.exchange.exchange import Exchange
from engine.exchange.headers import extra_headers
from engine.exchange.parallel_calls import make_calls
from engine.exchange.passthrough import forward, is_refusal
from engine.exchange.pipeline_response import build_pipeline_response
from engine.exchange.reports import restore_dropped
from engine.exchange.request import admission, authorize, check_readings, read_body, run_checks
from engine.exchange.response import build_response, streaming_case
from engine.exchange.retry import send
from engine.exchange.unread_fields import check_dropped
from engine.http.messages import EMPTY, CompleteResponse, Inbound
from engine.language.budget import DEFAULT_LIMITS
from engine.plan import (
    AttemptPlan,
    CallPlan,
    MappingPlan,
    PlanLeaf,
    PlanMatch,
    RoutePlan,
)
from engine.values import truth


@dataclass(slots=True)
class ExchangeResult:
    """The response of an exchange, and the facts for its log record.

    Attributes:
        defect: an unexpected exception; the client received an `internal` error.
        slot: the concurrency slot of the route that the exchange occupies; its runner releases it.
        bytes_sent: bytes of the body that were sent.
        events: events of a stream that were sent.
        first_event_ns: when the first event was sent, by `time.monotonic_ns`.
    """

    exchange: Exchange
    response: Response
    mapping: MappingPlan | None = None
    route: RoutePlan | None = None
    error: ExchangeError | None = None
    defect: Defect | None = None
    slot: Any = None
    bytes_sent: int = 0
    events: int = 0
    first_event_ns: int = 0

    def sent(self, data: bytes, events: int = 0) -> bytes:
        """Count bytes and events that are sent; returns `data`."""
        self.bytes_sent += len(data)
        if events and not self.events:
            self.first_event_ns = time.monotonic_ns()
        self.events += events
        return data


#: A running exchange: yields effects, receives their results or exceptions, and returns its result.
ExchangeRun: TypeAlias = Effects[ExchangeResult]


def run_exchange(match: PlanMatch, inbound: Inbound) -> ExchangeRun:
    """Run one exchange; it has a response, whatever is thrown into it."""
    exchange = Exchange(inbound, {})
    result = ExchangeResult(exchange, CompleteResponse(500, (), EMPTY), match.owner)
    try:
        leaf = match.leaf(inbound.method)
        result.mapping, result.route = leaf.owner, leaf.route
        if leaf.owner.limits is not DEFAULT_LIMITS:
            exchange.limit(leaf.owner.limits)
        if match.others:
            check_readings(leaf, match.others)
        authorize(leaf.owner, leaf.route, inbound)
        admit = admission(leaf.owner, leaf.route, inbound)
        if admit is not None:
            yield from admit
        exchange.params = match.params(leaf)
        exchange.raw_params = match.raw_params(leaf)
        result.response = yield from _run_route(leaf, exchange)
    except ExchangeError as error:
        _set_error(result, error)
    except Exception as error:
        result.defect = Defect.of(error)
        release_frames(error)
        _set_error(result, ExchangeError("internal", "internal error"))
    _add_extra_headers(result)
    return result


def rejected(match: PlanMatch, inbound: Inbound, error: ExchangeError) -> ExchangeResult:
    """The result of an exchange that is not run, or not to its end."""
    result = ExchangeResult(Exchange(inbound, {}), CompleteResponse(500, (), EMPTY), match.owner)
    _set_error(result, error)
    _add_extra_headers(result)
    return result


def _run_route(leaf: PlanLeaf, exchange: Exchange) -> Effects[Response]:
    mapping, route = leaf.owner, leaf.route
    if route.reads_body or route.buffers_body:
        exchange.inbound.content = yield from ReadBody(route.max_bytes)
    read_body(route, exchange)
    run_checks(route, exchange)
    if route.cache is None:
        return (yield from _produce_response(mapping, route, exchange))
    key = exchange_key(mapping, route, route.cache, exchange)
    cached = yield from CacheLookup(key)
    if cached is not None:
        restore_dropped(exchange, cached.report)
        return cached
    response = yield from _produce_response(mapping, route, exchange)
    if is_cacheable(response):
        yield from CacheStore(key, cached_response(exchange, response), route.cache.seconds)
    return response


def _produce_response(mapping: MappingPlan, route: RoutePlan, exchange: Exchange) -> Effects[Response]:
    if route.builtin is not None:
        return builtin_response(mapping, route, exchange)
    if route.spec.try_:
        return _try_attempts(mapping, route, exchange)
    return _run_attempt(mapping, route, route.attempts[0], exchange)


# --- Attempts --------------------------------------------------------------------------------------------


def _try_attempts(mapping: MappingPlan, route: RoutePlan, exchange: Exchange) -> Effects[Response]:
    """The response of the first attempt that applies and succeeds; attempts with an unhealthy upstream come
    last.

    A failed response of a `forward` is returned if no later attempt applies.
    """
    failure: ExchangeError | None = None
    forwarded: Response | None = None
    down: list[AttemptPlan] = []
    for attempts in (route.attempts, down):
        for attempt in attempts:
            if not _applies(attempt, exchange):
                continue
            if attempts is not down and (yield from _is_down(mapping, attempt)):
                down.append(attempt)
                continue
            if forwarded is not None:
                forwarded = None
                yield from _discard_attempt(exchange)
            try:
                response = yield from _run_attempt(mapping, route, attempt, exchange)
            except ExchangeError as error:
                if not error.is_upstream_error:
                    raise
                release_frames(error)
                failure = error
                yield from _discard_attempt(exchange)
                continue
            if attempt.forward is None or not is_refusal(response):
                return response
            forwarded = response
    if forwarded is not None:
        return forwarded
    raise failure or ExchangeError("internal", "no attempt applies to this request")


def _discard_attempt(exchange: Exchange) -> Effects[None]:
    if exchange.upstream_response is not None:
        yield from Release(exchange.upstream_response.source)
    exchange.reset()


def _applies(attempt: AttemptPlan, exchange: Exchange) -> bool:
    when = attempt.when
    return when is None or truth(evaluate(when, exchange.body, exchange, "invalid_request"))


def _is_down(mapping: MappingPlan, attempt: AttemptPlan) -> Effects[bool]:
    """Whether an upstream of an attempt was unhealthy when last observed."""
    if not attempt.health_checked:
        return False
    reports = yield from CheckHealth(mapping, attempt.health_checked, known=True)
    return not all(report["healthy"] for report in reports.values())


def _run_attempt(
    mapping: MappingPlan, route: RoutePlan, attempt: AttemptPlan, exchange: Exchange
) -> Effects[Response]:
    """The response of one attempt.

    Raises:
        ExchangeError: the attempt failed.
    """
    if attempt.forward is not None:
        return (yield from forward(mapping, route, attempt.forward, exchange))
    call = yield from _make_attempt_calls(mapping, route, attempt, exchange)
    if call is None:
        return build_response(attempt, None, exchange)
    response = exchange.upstream_response
    assert response is not None
    case = streaming_case(attempt, exchange)
    if case is not None:
        return (yield from build_pipeline_response(mapping, route, call, case, exchange))
    if response.source is not None:
        response.content = yield from ReadContent(response.source, call.max_bytes)
    return build_response(attempt, call, exchange)


def _make_attempt_calls(
    mapping: MappingPlan, route: RoutePlan, attempt: AttemptPlan, exchange: Exchange
) -> Effects[CallPlan | None]:
    """Make the calls of an attempt. Returns the call whose response is in `exchange.upstream_response`, or
    None."""
    if attempt.makes_all_calls:
        check_dropped(route, attempt.reads, exchange)
        return (yield from make_calls(mapping, route, attempt.calls, exchange, attempt))
    if attempt.before:
        yield from make_calls(mapping, route, attempt.before, exchange)
    call = select_call(attempt, exchange)
    if call is None:
        return None
    upstream = select_upstream(call.upstream, exchange.body, exchange)
    request = build_request(route, call, upstream, exchange, exchange.body)
    check_dropped(route, call.reads, exchange)
    exchange.upstream_response = yield from send(mapping, upstream, request, exchange, attempt.streams)
    return call


# --- Errors, and headers of every response ---------------------------------------------------------------


def _set_error(result: ExchangeResult, error: ExchangeError) -> None:
    """Set the response to an error; in the default format, if the mapping's error format causes a defect."""
    release_frames(error)
    result.error = error
    try:
        result.response = error_response(result.mapping, result.exchange, error)
    except Exception as defect:
        result.defect = Defect.of(defect)
        release_frames(defect)
        result.response = error_response(None, result.exchange, error)


def _add_extra_headers(result: ExchangeResult) -> None:
    response, headers = result.response, extra_headers(result.exchange, result.route)
    if response.headers:
        names = [name for name, _ in headers]
        headers = (*[field for field in response.headers if field[0] not in names], *headers)
    # A cached response is shared: it must not get the headers of one request.
    result.response = response.with_headers(headers)
