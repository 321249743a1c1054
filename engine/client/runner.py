"""The runner of exchanges: it performs their effects on the event loop.

Contract: every exchange has a response, unless the client disconnects, which cancels the task. An unexpected
exception is logged with its traceback and becomes an `internal` error. Knows asyncio, not ASGI.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from engine import exchange
from engine.client.adapters import open_upstream
from engine.client.circuit_breaker import CircuitBreaker
from engine.client.health import Health
from engine.client.in_process import (
    EncodedEventSource,
    EventSource,
    ForwardedSource,
    Handled,
    MappingUpstream,
)
from engine.client.load_balancing import BalancedUpstream
from engine.client.read_timeout import PendingRead, next_within
from engine.client.request_bodies import Body
from engine.client.response_events import ResponseEvents
from engine.client.retry_budget import RetryBudget
from engine.client.upstream import Upstream
from engine.client.worker_threads import in_thread, takes_long
from engine.errors import ExchangeError, overloaded, release_frames
from engine.exchange import EventStreamResponse, ExchangeResult
from engine.http.messages import Batch, CompleteResponse, Inbound, Source, UpstreamResponse
from engine.observability import logs, metrics, tracing
from engine.plan import PlanMatch, PlanSet, RoutePlan, UpstreamPlan
from engine.stores.rate_limits import RateLimits
from engine.stores.response_cache import ResponseCache


@dataclass(slots=True)
class _Slot:
    """A concurrency slot of a route, until `leave` is called."""

    running: dict[RoutePlan, int]
    route: RoutePlan | None

    def leave(self) -> None:
        if self.route is not None:
            self.running[self.route] -= 1
            self.route = None


@dataclass(slots=True)
class _OpenUpstream:
    """An upstream, its retry budget and its circuit breaker; None for those that its plan does not have."""

    upstream: Upstream
    budget: RetryBudget | None
    breaker: CircuitBreaker | None


@dataclass(slots=True)
class _ExchangeState:
    """The I/O state of an exchange: its request body, the open sources of upstream responses, its slot."""

    body: Body
    inbound: Inbound
    sources: list[Source] = field(default_factory=list)
    slot: _Slot | None = None


@dataclass(slots=True)
class _Finished:
    """The return value of a generator."""

    value: Any


def _resume(effects: exchange.Effects[Any], outcome: Any) -> exchange.Effect[object] | _Finished:
    """The next effect of an exchange, or its return value, as a future cannot raise `StopIteration`."""
    try:
        return effects.send(outcome)
    except StopIteration as end:
        return _Finished(end.value)


@dataclass(slots=True)
class ExchangeRunner:
    """Runs exchanges of a set of plans. Adapters are created immediately, and connect on the first call."""

    plans: PlanSet
    limits: RateLimits = field(default_factory=RateLimits)
    _running: dict[RoutePlan, int] = field(default_factory=dict)
    _upstreams: dict[tuple[str, str], _OpenUpstream] = field(default_factory=dict)
    _cache: ResponseCache = field(default_factory=ResponseCache)
    _health: Health = field(init=False)

    def __post_init__(self) -> None:
        checked = {}
        for mapping in self.plans.mappings.values():
            for plan in mapping.upstreams.values():
                key = (mapping.name, plan.name)
                upstream = self._open(plan)
                checked[key] = (plan, upstream.checks if isinstance(upstream, BalancedUpstream) else upstream)
                breaker = (
                    None if plan.breaker is None else CircuitBreaker(mapping.name, plan.name, plan.breaker)
                )
                budget = None if plan.retry is None else RetryBudget()
                self._upstreams[key] = _OpenUpstream(upstream, budget, breaker)
        self._health = Health(checked)

    async def run(self, match: PlanMatch, inbound: Inbound, body: Body) -> ExchangeResult:
        """Run one exchange. Cancelling it disconnects its upstreams."""
        state = _ExchangeState(body, inbound)
        try:
            result: ExchangeResult = await self._drive(exchange.run_exchange(match, inbound), state)
        except BaseException:
            if state.slot is not None:
                state.slot.leave()
            for source in state.sources:
                await source.aclose()
            raise
        result.slot = state.slot
        if isinstance(result.response, CompleteResponse):
            await self.release(result)
        if result.defect is not None:
            logs.internal_error(result.defect, request_id=result.exchange.inbound.request_id)
        return result

    def reject(
        self, match: PlanMatch, inbound: Inbound, error: ExchangeError, started_ns: int
    ) -> ExchangeResult:
        """The error response to a request whose exchange did not run or did not finish.

        Args:
            started_ns: when the request was received, by `time.monotonic_ns`.
        """
        result = exchange.rejected(match, inbound, error)
        result.exchange.started_ns = started_ns
        if result.defect is not None:
            logs.internal_error(result.defect, request_id=result.exchange.inbound.request_id)
        return result

    async def release(self, result: ExchangeResult) -> None:
        """Close the source of a response, and free its slot. Call this for every stream, read or not."""
        if result.slot is not None:
            result.slot.leave()
        response = result.exchange.upstream_response
        if response is not None and response.source is not None:
            await response.source.aclose()

    async def _drive(self, effects: exchange.Effects[Any], state: _ExchangeState) -> Any:
        """Perform the effects of an exchange, or of a branch, until it returns."""
        try:
            effect = next(effects)
            while True:
                try:
                    if type(effect) is exchange.SendCall:
                        outcome: object = await self._send(effect, state)
                    else:
                        outcome = await self._perform(effect, state)
                except Exception as error:
                    effect = effects.throw(error)
                else:
                    if not takes_long(outcome):
                        effect = effects.send(outcome)
                        continue
                    found = await in_thread(_resume, effects, outcome)
                    if isinstance(found, _Finished):
                        return found.value
                    effect = found
        except StopIteration as end:
            return end.value

    async def _perform(self, effect: exchange.Effect[object], state: _ExchangeState) -> object:
        """Perform one effect other than a call, and return its result."""
        match effect:
            case exchange.ReadBody():
                return await state.body.read(effect.limit)
            case exchange.Admit():
                await self._admit(effect, state)
            case exchange.ReadBatch():
                return await self._read_batch(effect)
            case exchange.ReadContent():
                return await effect.source.content(effect.limit)
            case exchange.Release():
                if effect.source is not None:
                    await effect.source.aclose()
            case exchange.Sleep():
                await asyncio.sleep(effect.seconds)
            case exchange.AcquireRetry():
                budget = self._upstreams[effect.mapping.name, effect.upstream.name].budget
                assert budget is not None, "only an upstream with retries has a retry budget"
                return budget.acquire()
            case exchange.RunParallel():
                await self._run_parallel(effect, state)
            case exchange.OpenBody():
                return state.body.open(effect.limit)
            case exchange.CheckHealth():
                return await self._health.report(effect)
            case exchange.RenderMetrics():
                return metrics.exposition()
            case exchange.CacheLookup():
                return self._cache.get(effect.key)
            case exchange.CacheStore():
                self._cache.put(effect.key, effect.response, effect.seconds)
            case _:
                raise AssertionError(f"unknown effect: {type(effect).__name__}")
        return None

    async def _read_batch(self, effect: exchange.ReadBatch) -> Batch | exchange.BatchTimeout:
        if effect.seconds is None:
            return await effect.source.next()
        found = await next_within(effect.source, effect.seconds)
        return exchange.BatchTimeout(found) if isinstance(found, PendingRead) else found

    async def _admit(self, effect: exchange.Admit, state: _ExchangeState) -> None:
        """Acquire a concurrency slot of the route, and count the request against its rate limits."""
        limit, running = effect.route.concurrency, self._running.get(effect.route, 0)
        if limit is not None:
            if running >= limit:
                raise overloaded("too many concurrent requests for this route")
            self._running[effect.route] = running + 1
            state.slot = _Slot(self._running, effect.route)
        if effect.counters:
            await self.limits.admit(effect.counters)

    async def _send(self, effect: exchange.SendCall, state: _ExchangeState) -> UpstreamResponse:
        """Send a call. Its result is recorded in metrics, traces, health and the circuit breaker."""
        key = (effect.mapping.name, effect.upstream.name)
        target = self._upstreams[key]
        upstream, breaker = target.upstream, target.breaker
        if breaker is not None:
            breaker.check()
        if target.budget is not None:
            target.budget.record_call()
        started = time.monotonic()
        span = tracing.begin_call(state.inbound, effect)
        try:
            response = await upstream.send(effect.request, effect.streams)
        except ExchangeError as error:
            tracing.end_call(span, error)
            metrics.record_call(*key, error.how or error.kind, time.monotonic() - started)
            if not isinstance(upstream, BalancedUpstream) or not upstream.is_available:
                self._health.record(key, error)
            if breaker is not None:
                breaker.record_failure(error.how)
            raise
        except asyncio.CancelledError:
            tracing.abandon(span)
            raise
        tracing.follow(span, response)
        metrics.record_call(*key, response.status, time.monotonic() - started)
        self._health.record(key, None)
        if breaker is not None:
            breaker.record_status(response.status)
        if response.source is not None:
            state.sources.append(response.source)
        return response

    async def _run_parallel(self, effect: exchange.RunParallel, state: _ExchangeState) -> None:
        """Run branches concurrently. The first error cancels the others, and is raised once they have
        finished."""
        limit = asyncio.Semaphore(effect.limit or len(effect.branches) or 1)
        tasks: dict[str, asyncio.Task[None]] = {}

        async def run_branch(branch: exchange.Branch) -> None:
            for name in branch.needs:
                await tasks[name]
            async with limit:
                await self._drive(branch.effects, state)

        for branch in effect.branches:
            tasks[branch.name] = asyncio.ensure_future(run_branch(branch))
        try:
            await asyncio.gather(*tasks.values())
        except BaseException as first:
            await _end(tasks.values(), first)
            raise
        finally:
            # Breaks a reference cycle: a task holds its exception, whose frames hold the task.
            tasks.clear()

    def _open(self, plan: UpstreamPlan) -> Upstream:
        if plan.mapping is not None:
            return MappingUpstream(plan, self._run_internal)
        return BalancedUpstream(plan, open_upstream) if plan.other_origins else open_upstream(plan)

    async def _run_internal(
        self, plan: UpstreamPlan, inbound: Inbound, body: Body, as_bytes: bool
    ) -> Handled | None:
        """Run a call from another mapping of this process; None if no route matches."""
        match = self.plans.mappings[plan.mapping or ""].tree.find(inbound.path, inbound.method)
        if match.found(inbound.method) is None:
            return None
        result = await self.run(match, inbound, body)
        logs.record_inner_exchange(result)
        response, report = result.response, exchange.report_of(result.exchange)
        if isinstance(response, CompleteResponse):
            return Handled(response, report)
        if not isinstance(response, EventStreamResponse):
            source: Source = ForwardedSource(response.source, lambda: self.release(result))
            return Handled(response, report, source)
        events = EventSource(ResponseEvents(result, response.stream), lambda: self.release(result), plan.name)
        source = EncodedEventSource(events, response.stream, result.exchange) if as_bytes else events
        return Handled(response, report, source)

    async def aclose(self) -> None:
        """Close all upstreams."""
        await self._health.aclose()
        for target in self._upstreams.values():
            await target.upstream.aclose()
        self._upstreams.clear()


async def _end(tasks: Collection[asyncio.Task[None]], first: BaseException) -> None:
    """Cancel tasks, wait for them, and discard their exceptions, except for `first`."""
    for task in tasks:
        task.cancel()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        if error is not None and error is not first:
            release_frames(error)
