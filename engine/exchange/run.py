"""A whole exchange, from its beginning to its end: the client's key and body, the ways to answer, failures.

Contract: whatever the exchange is given, or thrown, it ends with an answer.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

from engine.errors import Defect, ExchangeError, release_frames
from engine.exchange.builtin_responses import builtin_response
from engine.exchange.caching import cached_response, exchange_key, is_cacheable
from engine.exchange.call import build_request, select_call, select_upstream
from engine.exchange.effects import CacheLookup, CacheStore, CheckHealth, ReadBody, ReadContent, Release, Step
from engine.exchange.errors import build_error
from engine.exchange.evaluation import evaluate
from engine.exchange.exchange import Exchange
from engine.exchange.headers import extra_headers
from engine.exchange.parallel_calls import make_calls
from engine.exchange.passthrough import forward, is_refusal
from engine.exchange.request import admission, authorize, check_readings, read_body
from engine.exchange.response import build_response, streaming_case
from engine.exchange.retry import send
from engine.exchange.stream_response import streamed
from engine.exchange.unread_fields import check_dropped
from engine.http.messages import EMPTY, Inbound, Response
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
    """What an exchange came to: the answer, and what the log says of it.

    `defect` is an exception that the engine did not expect; its client received an `internal` error.
    `place` is what the exchange holds of its route's `concurrency`, given back by whoever carries it out.
    `bytes_sent` counts those of the body, `events` those of a stream, the first of which was sent at
    `first_event_ns` on the clock of `time.monotonic_ns`.
    """

    exchange: Exchange
    response: Response
    mapping: MappingPlan | None = None
    route: RoutePlan | None = None
    error: ExchangeError | None = None
    defect: Defect | None = None
    place: Any = None
    bytes_sent: int = 0
    events: int = 0
    first_event_ns: int = 0

    def sent(self, data: bytes, events: int = 0) -> bytes:
        """Count what goes out; gives it back."""
        self.bytes_sent += len(data)
        if events and not self.events:
            self.first_event_ns = time.monotonic_ns()
        self.events += events
        return data


#: An exchange that is being carried out. It yields what it needs, is sent that, or is thrown the exception
#: that came instead, and returns what it came to.
Steps: TypeAlias = Generator[Step, Any, ExchangeResult]


def answer(match: PlanMatch, inbound: Inbound) -> Steps:
    """Carry out one exchange. Whatever is thrown into it, there is an answer."""
    exchange = Exchange(inbound, {})
    result = ExchangeResult(exchange, Response(500, (), EMPTY), match.owner)
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
            yield admit
        exchange.params = match.params(leaf)
        exchange.raw_params = match.raw_params(leaf)
        result.response = yield from _exchange(leaf, exchange)
    except ExchangeError as error:
        _fail(result, error)
    except Exception as error:
        result.defect = Defect.of(error)
        release_frames(error)
        _fail(result, ExchangeError("internal", "something went wrong here"))
    _add_extra_headers(result)
    return result


def refusal(match: PlanMatch, inbound: Inbound, error: ExchangeError) -> ExchangeResult:
    """What an exchange comes to that is not carried out, or not to its end."""
    result = ExchangeResult(Exchange(inbound, {}), Response(500, (), EMPTY), match.owner)
    _fail(result, error)
    _add_extra_headers(result)
    return result


def _exchange(leaf: PlanLeaf, exchange: Exchange) -> Generator[Step, Any, Response]:
    mapping, route = leaf.owner, leaf.route
    if route.reads_body or route.buffers_body:
        exchange.inbound.content = yield ReadBody(route.max_bytes)
    read_body(route, exchange)
    if route.cache is None:
        return (yield from _made(mapping, route, exchange))
    key = exchange_key(mapping, route, route.cache, exchange)
    kept: Response | None = yield CacheLookup(key)
    if kept is not None:
        return kept
    response = yield from _made(mapping, route, exchange)
    if is_cacheable(response):
        yield CacheStore(key, cached_response(exchange, response), route.cache.seconds)
    return response


def _made(mapping: MappingPlan, route: RoutePlan, exchange: Exchange) -> Generator[Step, Any, Response]:
    if route.builtin is not None:
        return builtin_response(mapping, route, exchange)
    if route.spec.try_:
        return _first_that_works(mapping, route, exchange)
    return _attempted(mapping, route, route.attempts[0], exchange)


# --- Attempts --------------------------------------------------------------------------------------------


def _first_that_works(
    mapping: MappingPlan, route: RoutePlan, exchange: Exchange
) -> Generator[Step, Any, Response]:
    """The answer of the first attempt that holds and works; those whose upstream is down come last.

    A `forward` whose upstream responds with a failure is given back where no other attempt follows.
    """
    failure: ExchangeError | None = None
    passed: Response | None = None
    down: list[AttemptPlan] = []
    for attempts in (route.attempts, down):
        for attempt in attempts:
            if not _holds(attempt, exchange):
                continue
            if attempts is not down and (yield from _is_down(mapping, attempt)):
                down.append(attempt)
                continue
            if passed is not None:
                passed = None
                yield from _leave_attempt(exchange)
            try:
                response = yield from _attempted(mapping, route, attempt, exchange)
            except ExchangeError as error:
                if not error.is_upstreams:
                    raise
                release_frames(error)
                failure = error
                yield from _leave_attempt(exchange)
                continue
            if attempt.forward is None or not is_refusal(response):
                return response
            passed = response
    if passed is not None:
        return passed
    raise failure or ExchangeError("internal", "no attempt is for this request")


def _leave_attempt(exchange: Exchange) -> Generator[Step, Any, None]:
    if exchange.upstream_response is not None:
        yield Release(exchange.upstream_response.source)
    exchange.reset()


def _holds(attempt: AttemptPlan, exchange: Exchange) -> bool:
    when = attempt.when
    return when is None or truth(evaluate(when, exchange.body, exchange, "invalid_request"))


def _is_down(mapping: MappingPlan, attempt: AttemptPlan) -> Generator[Step, Any, bool]:
    """Whether an upstream of an attempt was found to be down lately."""
    if not attempt.health_checked:
        return False
    reports = yield CheckHealth(mapping, attempt.health_checked, known=True)
    return not all(report["healthy"] for report in reports.values())


def _attempted(
    mapping: MappingPlan, route: RoutePlan, attempt: AttemptPlan, exchange: Exchange
) -> Generator[Step, Any, Response]:
    """The answer of one attempt.

    Raises:
        ExchangeError: it has none.
    """
    if attempt.forward is not None:
        return (yield from forward(mapping, route, attempt.forward, exchange))
    call = yield from _called(mapping, route, attempt, exchange)
    if call is None:
        return build_response(attempt, None, exchange)
    response = exchange.upstream_response
    assert response is not None
    case = streaming_case(attempt, exchange)
    if case is not None:
        return (yield from streamed(mapping, case, exchange, response, call.max_bytes))
    if response.source is not None:
        response.content = yield ReadContent(response.source, call.max_bytes)
    return build_response(attempt, call, exchange)


def _called(
    mapping: MappingPlan, route: RoutePlan, attempt: AttemptPlan, exchange: Exchange
) -> Generator[Step, Any, CallPlan | None]:
    """Make the call, or all calls, of an attempt: the one whose reply is the exchange's, or None."""
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


# --- What failed, and what every answer carries ----------------------------------------------------------


def _fail(result: ExchangeResult, error: ExchangeError) -> None:
    """Answer with a failure; with a plain one, where telling it in the mapping's dialect is a defect too."""
    release_frames(error)
    result.error = error
    try:
        result.response = build_error(result.mapping, result.exchange, error)
    except Exception as defect:
        result.defect = Defect.of(defect)
        release_frames(defect)
        result.response = build_error(None, result.exchange, error)


def _add_extra_headers(result: ExchangeResult) -> None:
    response, headers = result.response, extra_headers(result.exchange, result.route)
    if response.headers:
        names = [name for name, _ in headers]
        headers = (*[field for field in response.headers if field[0] not in names], *headers)
    # A kept answer is given to many: it must not take the headers of one of them.
    result.response = Response(response.status, headers, response.content, response.stream, response.source)
