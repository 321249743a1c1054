"""An exchange carried out: from an inbound request through the pure middle and an upstream to its answer.

Contract: whatever happens, there is an `Outbound`, unless the client has left, which cancels the task; what
the engine did not foresee is logged with its traceback and told as `internal`. Knows asyncio, not ASGI.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine import exchange as middle
from engine.errors import ExchangeError
from engine.exchange import Answered
from engine.messages import Content, Inbound, Outbound
from engine.plan import PlanMatch, PlanSet, UpstreamPlan
from engine.runtime import logs, metrics, traces
from engine.runtime.health import Health
from engine.runtime.kept import KeptAnswers
from engine.runtime.upstreams import Source, Upstream
from engine.runtime.upstreams.mapping import Events, MappingUpstream, WrittenEvents
from engine.runtime.upstreams.opening import open_upstream


class Body(Protocol):
    """A client's body that has not been read yet."""

    async def read(self, limit: int) -> Content:
        """All of it, at most so many bytes; raises `payload_too_large`."""
        ...

    def open(self, limit: int) -> Any:
        """What `UpstreamRequest.body` takes, or None where there is no body; raises as `read`."""
        ...


@dataclass(slots=True)
class WholeBody:
    """A body that is here already."""

    content: Content

    async def read(self, limit: int) -> Content:
        return self.content

    def open(self, limit: int) -> WholeSource | None:
        return None if self.content.is_empty else WholeSource(self.content.data)


@dataclass(slots=True)
class WholeSource:
    """A body that is here already, where one is read as it comes."""

    data: bytes

    @property
    def length(self) -> int:
        return len(self.data)

    async def next(self) -> bytes | None:
        data, self.data = self.data, b""
        return data or None


@dataclass(slots=True)
class _Going:
    """An exchange on its way: its body, and what it reads upstreams' answers from."""

    body: Body
    inbound: Inbound
    sources: list[Source] = field(default_factory=list)


@dataclass(slots=True)
class Relay:
    """Answers requests from a set of plans. Upstreams are opened at once, and connect when first called."""

    plans: PlanSet
    _upstreams: dict[tuple[str, str], Upstream] = field(default_factory=dict)
    _kept: KeptAnswers = field(default_factory=KeptAnswers)
    _health: Health = field(init=False)

    def __post_init__(self) -> None:
        watched = {}
        for mapping in self.plans.mappings.values():
            for plan in mapping.upstreams.values():
                key = (mapping.name, plan.name)
                self._upstreams[key] = self._open(plan)
                watched[key] = (plan, self._upstreams[key])
        self._health = Health(watched)

    async def answer(self, match: PlanMatch, inbound: Inbound, body: Body) -> Answered:
        """Carry out one exchange. Where it is cancelled, its upstreams are cut off."""
        going = _Going(body, inbound)
        try:
            answered: Answered = await self._carry_out(middle.answer(match, inbound), going)
        except BaseException:
            for source in going.sources:
                await source.aclose()
            raise
        if answered.outbound.is_whole:
            await self.release(answered)
        if answered.defect is not None:
            logs.unforeseen(answered.exchange, answered.defect)
        return answered

    def refuse(self, match: PlanMatch, inbound: Inbound, error: ExchangeError, started_ns: int) -> Answered:
        """The answer to a request that is not carried out, or not to its end; begun at `started_ns`."""
        answered = middle.refusal(match, inbound, error)
        answered.exchange.started_ns = started_ns
        if answered.defect is not None:
            logs.unforeseen(answered.exchange, answered.defect)
        return answered

    async def release(self, answered: Answered) -> None:
        """Close what an answer was read from; to be called for every stream, begun or not."""
        reply = answered.exchange.reply
        if reply is not None and reply.source is not None:
            await reply.source.aclose()

    async def _carry_out(self, steps: Generator[middle.Step, Any, Any], going: _Going) -> Any:
        """Give an exchange, or a branch of one, what it asks for, until it has come to its end."""
        try:
            step = next(steps)
            while True:
                try:
                    given = await self._take(step, going)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(given)
        except StopIteration as end:
            return end.value

    async def _take(self, step: middle.Step, going: _Going) -> Any:
        """What one step asks for."""
        match step:
            case middle.SendCall():
                return await self._send(step, going)
            case middle.ReadBody():
                return await going.body.read(step.limit)
            case middle.ReadBatch():
                return await step.source.next()
            case middle.ReadContent():
                return await step.source.content()
            case middle.LetGo():
                return None if step.source is None else await step.source.aclose()
            case middle.Pause():
                return await asyncio.sleep(step.seconds)
            case middle.Together():
                return await self._together(step, going)
            case middle.OpenBody():
                return going.body.open(step.limit)
            case middle.AskHealth():
                return await self._health.ask(step)
            case middle.AskMetrics():
                return metrics.exposition()
            case middle.LookUp():
                return self._kept.get(step.key)
            case middle.Keep():
                return self._kept.put(step.key, step.outbound, step.seconds)

    async def _send(self, step: middle.SendCall, going: _Going) -> Any:
        """The reply to a call; what it shows of the upstream's health is noted."""
        key = (step.mapping.name, step.upstream.name)
        started = time.monotonic()
        span = traces.begin_call(going.inbound, step)
        try:
            reply = await self._upstreams[key].send(step.request, step.streams)
        except ExchangeError as error:
            traces.end_call(span, error)
            metrics.call(*key, error.how or error.kind, time.monotonic() - started)
            self._health.note(key, error)
            raise
        traces.end_call(span, reply.status)
        metrics.call(*key, reply.status, time.monotonic() - started)
        self._health.note(key, None)
        if reply.source is not None:
            going.sources.append(reply.source)
        return reply

    async def _together(self, step: middle.Together, going: _Going) -> None:
        """Carry out branches at the same time; the first failure ends the others, and is raised once they
        have ended."""
        limit = asyncio.Semaphore(step.limit or len(step.branches) or 1)
        tasks: dict[str, asyncio.Task[None]] = {}

        async def carry_out(branch: middle.Branch) -> None:
            for name in branch.needs:
                await tasks[name]
            async with limit:
                await self._carry_out(branch.steps, going)

        for branch in step.branches:
            tasks[branch.name] = asyncio.ensure_future(carry_out(branch))
        try:
            await asyncio.gather(*tasks.values())
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def events(self, answered: Answered) -> AsyncGenerator[list[Any], None]:
        """The events of an answer that is a stream, as they come."""
        stream, reply = answered.outbound.stream, answered.exchange.reply
        source = None if reply is None else reply.source
        if stream.first:
            yield stream.first
        for event in stream.script:
            await asyncio.sleep(stream.plan.every)
            yield [event]
        while not stream.is_over:
            events = await self._next(stream, source)
            if events:
                yield events

    async def _next(self, stream: middle.EventStream, source: Any) -> list[Any]:
        try:
            return stream.feed(await source.next())
        except ExchangeError as error:
            return stream.fail(error)

    def _open(self, plan: UpstreamPlan) -> Upstream:
        return open_upstream(plan) if plan.mapping is None else MappingUpstream(plan, self._answer_inside)

    async def _answer_inside(self, name: str, inbound: Inbound, as_bytes: bool) -> tuple[Outbound, Any]:
        """Answer a call that another mapping makes in this process."""
        match = self.plans.mappings[name].tree.find(inbound.path, inbound.method)
        answered = await self.answer(match, inbound, WholeBody(inbound.content))
        logs.inside(answered)
        outbound = answered.outbound
        if outbound.stream is None:
            return outbound, outbound.source
        events = Events(self.events(answered), lambda: self.release(answered))
        return outbound, WrittenEvents(events, outbound.stream, answered.exchange) if as_bytes else events

    async def aclose(self) -> None:
        """Close all upstreams."""
        await self._health.aclose()
        for upstream in self._upstreams.values():
            await upstream.aclose()
        self._upstreams.clear()
