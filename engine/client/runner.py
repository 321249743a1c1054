"""An exchange carried out: from an inbound request through the pure middle and an upstream to its answer.

Contract: whatever happens, there is an `Outbound`, unless the client has left, which cancels the task; what
the engine did not foresee is logged with its traceback and told as `internal`. Knows asyncio, not ASGI.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from engine import exchange
from engine.client.adapters import open_upstream
from engine.client.circuit_breaker import Breaker
from engine.client.health import Health
from engine.client.in_process import Events, MappingUpstream, PassedBytes, WrittenEvents
from engine.client.load_balancing import BalancedUpstream
from engine.client.read_timeout import Waiting, within
from engine.client.request_bodies import Body
from engine.client.response_events import Flow
from engine.client.retry_budget import Budget
from engine.client.upstream import Upstream
from engine.client.worker_threads import in_thread, is_long
from engine.errors import ExchangeError, overloaded, release_frames
from engine.exchange import EventStreamResponse, ExchangeResult, Response
from engine.http.messages import Batch, CompleteResponse, Inbound, Source, UpstreamResponse
from engine.observability import logs, metrics, tracing
from engine.plan import PlanMatch, PlanSet, RoutePlan, UpstreamPlan
from engine.stores.rate_limits import RateLimits
from engine.stores.response_cache import ResponseCache


@dataclass(slots=True)
class _Place:
    """One of a route's exchanges that run at a time, until it is left."""

    running: dict[RoutePlan, int]
    route: RoutePlan | None

    def leave(self) -> None:
        if self.route is not None:
            self.running[self.route] -= 1
            self.route = None


@dataclass(slots=True)
class _Opened:
    """An upstream, and what its calls are counted by."""

    upstream: Upstream
    budget: Budget
    breaker: Breaker | None


@dataclass(slots=True)
class _Going:
    """An exchange on its way: its body, and what it reads upstreams' answers from."""

    body: Body
    inbound: Inbound
    sources: list[Source] = field(default_factory=list)
    place: _Place | None = None


@dataclass(slots=True)
class _Result:
    """What an exchange came to."""

    value: Any


def _go_on(steps: exchange.Effects[Any], given: Any) -> exchange.Effect[object] | _Result:
    """The next step of an exchange, or its end: no `StopIteration` can leave a thread."""
    try:
        return steps.send(given)
    except StopIteration as end:
        return _Result(end.value)


@dataclass(slots=True)
class Relay:
    """Answers requests from a set of plans. Upstreams are opened at once, and connect when first called."""

    plans: PlanSet
    limits: RateLimits = field(default_factory=RateLimits)
    _running: dict[RoutePlan, int] = field(default_factory=dict)
    _opened: dict[tuple[str, str], _Opened] = field(default_factory=dict)
    _kept: ResponseCache = field(default_factory=ResponseCache)
    _health: Health = field(init=False)

    def __post_init__(self) -> None:
        watched = {}
        for mapping in self.plans.mappings.values():
            for plan in mapping.upstreams.values():
                key = (mapping.name, plan.name)
                upstream = self._open(plan)
                watched[key] = (plan, upstream.checks if isinstance(upstream, BalancedUpstream) else upstream)
                breaker = None if plan.breaker is None else Breaker(mapping.name, plan.name, plan.breaker)
                self._opened[key] = _Opened(upstream, Budget(), breaker)
        self._health = Health(watched)

    async def answer(self, match: PlanMatch, inbound: Inbound, body: Body) -> ExchangeResult:
        """Carry out one exchange. Where it is cancelled, its upstreams are cut off."""
        going = _Going(body, inbound)
        try:
            result: ExchangeResult = await self._carry_out(exchange.run_exchange(match, inbound), going)
        except BaseException:
            if going.place is not None:
                going.place.leave()
            for source in going.sources:
                await source.aclose()
            raise
        result.slot = going.place
        if isinstance(result.response, CompleteResponse):
            await self.release(result)
        if result.defect is not None:
            logs.internal_error(result.defect, request_id=result.exchange.inbound.request_id)
        return result

    def refuse(
        self, match: PlanMatch, inbound: Inbound, error: ExchangeError, started_ns: int
    ) -> ExchangeResult:
        """The answer to a request that is not carried out, or not to its end; begun at `started_ns`."""
        result = exchange.rejected(match, inbound, error)
        result.exchange.started_ns = started_ns
        if result.defect is not None:
            logs.internal_error(result.defect, request_id=result.exchange.inbound.request_id)
        return result

    async def release(self, result: ExchangeResult) -> None:
        """Close what an answer was read from; to be called for every stream, begun or not."""
        if result.slot is not None:
            result.slot.leave()
        response = result.exchange.upstream_response
        if response is not None and response.source is not None:
            await response.source.aclose()

    async def _carry_out(self, steps: exchange.Effects[Any], going: _Going) -> Any:
        """Give an exchange, or a branch of one, what it asks for, until it has come to its end."""
        try:
            step = next(steps)
            while True:
                try:
                    if type(step) is exchange.SendCall:
                        given: object = await self._send(step, going)
                    else:
                        given = await self._take(step, going)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    if not is_long(given):
                        step = steps.send(given)
                        continue
                    found = await in_thread(_go_on, steps, given)
                    if isinstance(found, _Result):
                        return found.value
                    step = found
        except StopIteration as end:
            return end.value

    async def _take(self, step: exchange.Effect[object], going: _Going) -> object:
        """What one step asks for, other than a call."""
        match step:
            case exchange.ReadBody():
                return await going.body.read(step.limit)
            case exchange.Admit():
                await self._admit(step, going)
            case exchange.ReadBatch():
                return await self._read_batch(step)
            case exchange.ReadContent():
                return await step.source.content(step.limit)
            case exchange.Release():
                if step.source is not None:
                    await step.source.aclose()
            case exchange.Sleep():
                await asyncio.sleep(step.seconds)
            case exchange.AcquireRetry():
                return self._opened[step.mapping.name, step.upstream.name].budget.take()
            case exchange.RunParallel():
                await self._together(step, going)
            case exchange.OpenBody():
                return going.body.open(step.limit)
            case exchange.CheckHealth():
                return await self._health.ask(step)
            case exchange.RenderMetrics():
                return metrics.exposition()
            case exchange.CacheLookup():
                return self._kept.get(step.key)
            case exchange.CacheStore():
                self._kept.put(step.key, step.response, step.seconds)
            case _:
                raise AssertionError(f"an unknown step: {type(step).__name__}")
        return None

    async def _read_batch(self, step: exchange.ReadBatch) -> Batch | exchange.BatchTimeout:
        if step.seconds is None:
            return await step.source.next()
        found = await within(step.source, step.seconds)
        return exchange.BatchTimeout(found) if isinstance(found, Waiting) else found

    async def _admit(self, step: exchange.Admit, going: _Going) -> None:
        """Let a request in, if its route has a place left and its client has not had too many."""
        most, running = step.route.concurrency, self._running.get(step.route, 0)
        if most is not None:
            if running >= most:
                raise overloaded("too many requests of this route are being answered")
            self._running[step.route] = running + 1
            going.place = _Place(self._running, step.route)
        if step.counters:
            await self.limits.admit(step.counters)

    async def _send(self, step: exchange.SendCall, going: _Going) -> UpstreamResponse:
        """The reply to a call; what it shows of the upstream is noted."""
        key = (step.mapping.name, step.upstream.name)
        opened = self._opened[key]
        upstream, breaker = opened.upstream, opened.breaker
        if breaker is not None:
            breaker.check()
        opened.budget.note_call()
        started = time.monotonic()
        span = tracing.begin_call(going.inbound, step)
        try:
            response = await upstream.send(step.request, step.streams)
        except ExchangeError as error:
            tracing.end_call(span, error)
            metrics.record_call(*key, error.how or error.kind, time.monotonic() - started)
            if not isinstance(upstream, BalancedUpstream) or not upstream.is_up:
                self._health.note(key, error)
            if breaker is not None:
                breaker.note_failure(error.how)
            raise
        except asyncio.CancelledError:
            tracing.abandon(span)
            raise
        tracing.follow(span, response)
        metrics.record_call(*key, response.status, time.monotonic() - started)
        self._health.note(key, None)
        if breaker is not None:
            breaker.note_status(response.status)
        if response.source is not None:
            going.sources.append(response.source)
        return response

    async def _together(self, step: exchange.RunParallel, going: _Going) -> None:
        """Carry out branches at the same time; the first failure ends the others, and is raised once they
        have ended."""
        limit = asyncio.Semaphore(step.limit or len(step.branches) or 1)
        tasks: dict[str, asyncio.Task[None]] = {}

        async def carry_out(branch: exchange.Branch) -> None:
            for name in branch.needs:
                await tasks[name]
            async with limit:
                await self._carry_out(branch.effects, going)

        for branch in step.branches:
            tasks[branch.name] = asyncio.ensure_future(carry_out(branch))
        try:
            await asyncio.gather(*tasks.values())
        except BaseException as first:
            await _end(tasks.values(), first)
            raise
        finally:
            # A task holds the exception that it ended with, and the exception the frames that hold the task.
            tasks.clear()

    def _open(self, plan: UpstreamPlan) -> Upstream:
        if plan.mapping is not None:
            return MappingUpstream(plan, self._answer_inside)
        return BalancedUpstream(plan, open_upstream) if plan.others else open_upstream(plan)

    async def _answer_inside(
        self, plan: UpstreamPlan, inbound: Inbound, body: Body, as_bytes: bool
    ) -> tuple[Response | None, Source | None]:
        """Answer a call that another mapping makes in this process; None where no route serves it."""
        match = self.plans.mappings[plan.mapping or ""].tree.find(inbound.path, inbound.method)
        if match.found(inbound.method) is None:
            return None, None
        result = await self.answer(match, inbound, body)
        logs.record_inner_exchange(result)
        response = result.response
        if isinstance(response, CompleteResponse):
            return response, None
        if not isinstance(response, EventStreamResponse):
            return response, PassedBytes(response.source, lambda: self.release(result))
        events = Events(Flow(result, response.stream), lambda: self.release(result), plan.name)
        return response, WrittenEvents(events, response.stream, result.exchange) if as_bytes else events

    async def aclose(self) -> None:
        """Close all upstreams."""
        await self._health.aclose()
        for opened in self._opened.values():
            await opened.upstream.aclose()
        self._opened.clear()


async def _end(tasks: Collection[asyncio.Task[None]], first: BaseException) -> None:
    """Cancel tasks, wait until they have ended, and drop what they ended with, save the `first` exception."""
    for task in tasks:
        task.cancel()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        if error is not None and error is not first:
            release_frames(error)
