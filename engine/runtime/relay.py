"""An exchange carried out: from an inbound request through the pure middle and an upstream to its answer.

Contract: whatever happens, there is an `Outbound`, unless the client has left; what the engine did not
foresee is logged with its traceback and told as `internal`. Knows asyncio, not ASGI.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from engine import exchange as middle
from engine.errors import ExchangeError
from engine.exchange import Answered
from engine.messages import Content, Inbound, Outbound
from engine.plan import PlanMatch, PlanSet, UpstreamPlan
from engine.runtime import logs
from engine.runtime.upstreams import Upstream
from engine.runtime.upstreams.http import HttpUpstream
from engine.runtime.upstreams.mapping import Events, MappingUpstream

#: Reads the client's body, of at most so many bytes; raises `payload_too_large`, or `ClientLeft`.
ReadBody = Callable[[int], Awaitable[Content]]
#: Waits for what an upstream sends for as long as the client stays; raises `ClientLeft` once it does not.
Wait = Callable[[Awaitable[Any]], Awaitable[Any]]


class ClientLeft(Exception):
    """The client closed the connection before its answer."""


@dataclass(slots=True)
class Relay:
    """Answers requests from a set of plans. Upstreams are opened at once, and connect when first called."""

    plans: PlanSet
    _upstreams: dict[tuple[str, str], Upstream] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for mapping in self.plans.mappings.values():
            for plan in mapping.upstreams.values():
                self._upstreams[mapping.name, plan.name] = self._open(plan)

    async def answer(self, match: PlanMatch, inbound: Inbound, read: ReadBody, wait: Wait) -> Answered:
        """Carry out one exchange.

        Raises:
            ClientLeft: nobody waits for the answer any more.
        """
        answered = await self._carry_out(middle.answer(match, inbound), read, wait)
        if answered.outbound.stream is None:
            await self.release(answered)
        if answered.defect is not None:
            logs.unforeseen(answered.exchange, answered.defect)
        return answered

    async def release(self, answered: Answered) -> None:
        """Close what an answer was read from; to be called for every stream, begun or not."""
        reply = answered.exchange.reply
        if reply is not None and reply.source is not None:
            await reply.source.aclose()

    async def _carry_out(self, steps: middle.Steps, read: ReadBody, wait: Wait) -> Answered:
        """Give an exchange what it asks for, until it has come to its end."""
        try:
            step = next(steps)
            while True:
                try:
                    given = await self._take(step, read, wait)
                except ClientLeft:
                    raise
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(given)
        except StopIteration as end:
            answered: Answered = end.value
            return answered

    async def _take(self, step: middle.Step, read: ReadBody, wait: Wait) -> Any:
        """The I/O that one step asks for."""
        if isinstance(step, middle.ReadBody):
            return await read(step.limit)
        if isinstance(step, middle.ReadBatch | middle.ReadContent):
            return await self._read(step, wait)
        upstream = self._upstreams[step.mapping.name, step.upstream.name]
        return await wait(upstream.send(step.request, step.streams))

    async def _read(self, step: middle.ReadBatch | middle.ReadContent, wait: Wait) -> Any:
        """What an upstream still sends; where nobody waits for it any more, it is cut off."""
        source = step.source
        try:
            return await wait(source.next() if isinstance(step, middle.ReadBatch) else source.content())
        except (ClientLeft, asyncio.CancelledError):
            await source.aclose()
            raise

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
        return HttpUpstream(plan) if plan.mapping is None else MappingUpstream(plan, self._answer_inside)

    async def _answer_inside(self, name: str, inbound: Inbound) -> tuple[Outbound, Events | None]:
        """Answer a call that another mapping makes in this process."""
        content = inbound.content

        async def read(limit: int) -> Content:
            return content

        match = self.plans.mappings[name].tree.find(inbound.path, inbound.method)
        answered = await self.answer(match, inbound, read, _just_wait)
        logs.inside(answered)
        if answered.outbound.stream is None:
            return answered.outbound, None
        return answered.outbound, Events(self.events(answered), lambda: self.release(answered))

    async def aclose(self) -> None:
        """Close all upstreams."""
        for upstream in self._upstreams.values():
            await upstream.aclose()
        self._upstreams.clear()


async def _just_wait(work: Awaitable[Any]) -> Any:
    return await work
