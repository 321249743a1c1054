"""An exchange carried out: from an inbound request through the pure middle and an upstream to its answer.

Contract: whatever happens, there is an `Outbound`, unless the client has left; what the engine did not
foresee is logged with its traceback and told as `internal`. Knows asyncio, not ASGI.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from engine import exchange as middle
from engine.exchange import Answered
from engine.messages import Content, Inbound, Outbound, UpstreamReply
from engine.plan import PlanMatch, PlanSet, UpstreamPlan
from engine.runtime import logs
from engine.runtime.upstreams import Upstream
from engine.runtime.upstreams.http import HttpUpstream
from engine.runtime.upstreams.mapping import MappingUpstream

#: Reads the client's body, of at most so many bytes; raises `payload_too_large`, or `ClientLeft`.
ReadBody = Callable[[int], Awaitable[Content]]
#: Waits for an upstream's reply for as long as the client stays; raises `ClientLeft` once it does not.
Wait = Callable[[Awaitable[None]], Awaitable[None]]


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
        if answered.defect is not None:
            logs.unforeseen(answered.exchange, answered.defect)
        return answered

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

    async def _take(
        self, step: middle.ReadBody | middle.SendCall, read: ReadBody, wait: Wait
    ) -> Content | UpstreamReply:
        if isinstance(step, middle.ReadBody):
            return await read(step.limit)
        upstream = self._upstreams[step.mapping.name, step.upstream.name]
        request, replies = step.request, []

        async def send() -> None:
            replies.append(await upstream.send(request))

        await wait(send())
        return replies[0]

    def _open(self, plan: UpstreamPlan) -> Upstream:
        return HttpUpstream(plan) if plan.mapping is None else MappingUpstream(plan, self._answer_inside)

    async def _answer_inside(self, name: str, inbound: Inbound) -> Outbound:
        """Answer a call that another mapping makes in this process."""
        content = inbound.content

        async def read(limit: int) -> Content:
            return content

        match = self.plans.mappings[name].tree.find(inbound.path, inbound.method)
        answered = await self.answer(match, inbound, read, _just_wait)
        logs.inside(answered)
        return answered.outbound

    async def aclose(self) -> None:
        """Close all upstreams."""
        for upstream in self._upstreams.values():
            await upstream.aclose()
        self._upstreams.clear()


async def _just_wait(work: Awaitable[None]) -> None:
    await work
