"""An exchange carried out: from an inbound request through the pure middle and an upstream to its answer.

Contract: whatever happens, there is an `Outbound`; what the engine did not foresee is logged with its
traceback and told as `internal`. Knows asyncio, not ASGI.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from engine import exchange as middle
from engine.errors import ExchangeError
from engine.messages import Content, Exchange, Inbound, Outbound
from engine.plan import Leaf, MappingPlan, Match, PlanSet, RoutePlan, UpstreamPlan
from engine.runtime import logs
from engine.runtime.upstreams import Upstream
from engine.runtime.upstreams.http import HttpUpstream
from engine.runtime.upstreams.mapping import MappingUpstream

#: Reads the client's body, of at most so many bytes; raises `payload_too_large`.
ReadBody = Callable[[int], Awaitable[Content]]
#: Waits for an upstream's reply for as long as the client stays.
Wait = Callable[[Awaitable[None]], Awaitable[None]]


@dataclass(slots=True)
class Answered:
    """What an exchange came to: the answer, and what the log says of it."""

    exchange: Exchange
    outbound: Outbound
    mapping: MappingPlan | None = None
    route: RoutePlan | None = None
    error: ExchangeError | None = None


@dataclass(slots=True)
class Relay:
    """Answers requests from a set of plans. Upstreams are opened when first called and kept."""

    plans: PlanSet
    _upstreams: dict[tuple[str, str], Upstream] = field(default_factory=dict)

    async def answer(self, match: Match, inbound: Inbound, read: ReadBody, wait: Wait) -> Answered:
        """Carry out one exchange."""
        exchange = Exchange(inbound, {})
        answered = Answered(exchange, Outbound(500, (), inbound.content), match.owner)
        try:
            leaf = match.leaf(inbound.method)
            answered.mapping, answered.route = leaf.mapping, leaf.route
            exchange.params = match.params(leaf)
            middle.authorize(leaf.mapping, leaf.route, inbound)
            answered.outbound = await self._exchange(leaf, exchange, read, wait)
        except ExchangeError as error:
            self._fail(answered, error)
        except Exception as error:
            logs.unforeseen(exchange, error)
            self._fail(answered, ExchangeError("internal", "something went wrong here"))
        answered.outbound.headers = (*answered.outbound.headers, *middle.extra_headers(exchange))
        return answered

    async def _exchange(self, leaf: Leaf, exchange: Exchange, read: ReadBody, wait: Wait) -> Outbound:
        mapping, route = leaf.mapping, leaf.route
        if route.reads_body:
            exchange.inbound.content = await read(route.max_bytes)
        middle.read_body(route, exchange)
        if route.call is not None:
            request = middle.build_request(route, route.call, exchange)
            upstream = self._upstream(mapping, route.call.upstream)

            async def send() -> None:
                exchange.reply = await upstream.send(request)

            await wait(send())
        return middle.build_reply(mapping, route, exchange)

    def _fail(self, answered: Answered, error: ExchangeError) -> None:
        answered.error = error
        answered.outbound = middle.build_error(answered.mapping, answered.exchange, error)

    def _upstream(self, mapping: MappingPlan, plan: UpstreamPlan) -> Upstream:
        key = (mapping.name, plan.name)
        if key not in self._upstreams:
            self._upstreams[key] = (
                HttpUpstream(plan) if plan.mapping is None else MappingUpstream(plan, self._answer_inside)
            )
        return self._upstreams[key]

    async def _answer_inside(self, name: str, inbound: Inbound) -> Outbound:
        """Answer a call that another mapping makes in this process."""
        content = inbound.content

        async def read(limit: int) -> Content:
            return content

        match = self.plans.mappings[name].tree.find(inbound.path)
        answered = await self.answer(match, inbound, read, _just_wait)
        logs.warnings(answered)
        return answered.outbound

    async def aclose(self) -> None:
        """Close all upstreams."""
        for upstream in self._upstreams.values():
            await upstream.aclose()
        self._upstreams.clear()


async def _just_wait(work: Awaitable[None]) -> None:
    await work
