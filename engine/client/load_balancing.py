"""Several servers as one upstream: each call goes to the one with the fewest calls running.

Contract: a server that cannot be reached is left out for a while, or until a check of health finds it well;
where all are left out they are tried all the same. Must not know how a call is sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from engine.client.upstream import Upstream
from engine.errors import ExchangeError
from engine.exchange import health_request, is_healthy
from engine.exchange.response_source import PumpByNext
from engine.http.messages import Batch, Content, OutgoingRequest, Source, UpstreamResponse
from engine.observability import logs
from engine.plan import UpstreamPlan

#: How long a server is left out where no check of health asks for it, in seconds.
LEFT_OUT: Final = 5.0


@dataclass(slots=True, eq=False)
class _Server:
    """One server; `back_at` is when it may be called again, None where it may be now."""

    number: int
    upstream: Upstream
    running: int = 0
    back_at: float | None = None
    watching: asyncio.Task[None] | None = None


class BalancedUpstream:
    """The servers of one upstream. `open_server` makes the adapter of one, `clock` gives seconds."""

    def __init__(
        self,
        plan: UpstreamPlan,
        open_server: Callable[[UpstreamPlan], Upstream],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert plan.origin is not None
        self._plan = plan
        self._clock = clock
        plans = [replace(plan, origin=origin, others=()) for origin in (plan.origin, *plan.others)]
        self._servers = [_Server(number, open_server(plan)) for number, plan in enumerate(plans, 1)]
        self._turn = 0
        self.checks = _Checks(self)

    @property
    def is_up(self) -> bool:
        """Whether one of the servers is not left out."""
        return any(server.back_at is None for server in self._servers)

    async def send(self, request: OutgoingRequest, streams: bool = False) -> UpstreamResponse:
        """Send one request to the server that has the least to do."""
        return await self._send(self._chosen(), request, streams)

    def _chosen(self) -> _Server:
        """The one with the fewest calls running, those with as many in turn."""
        now = self._clock()
        able = [s for s in self._servers if s.back_at is None or s.back_at <= now] or self._servers
        count = len(self._servers)
        chosen = min(able, key=lambda server: (server.running, (server.number - 1 - self._turn) % count))
        self._turn = chosen.number % count
        if chosen.back_at is not None and self._plan.health is None:
            # This call is the trial: others wait for what comes of it.
            chosen.back_at = now + LEFT_OUT
        return chosen

    async def _send(self, server: _Server, request: OutgoingRequest, streams: bool) -> UpstreamResponse:
        server.running += 1
        try:
            response = await server.upstream.send(request, streams)
        except BaseException as error:
            server.running -= 1
            if isinstance(error, ExchangeError) and error.how == "connect":
                self._leave_out(server)
            raise
        if self._plan.health is None:
            self._take_back(server)
        if response.source is None:
            server.running -= 1
        else:
            response.source = _Counted(response.source, server)
        return response

    # Who is left out

    def _leave_out(self, server: _Server) -> None:
        health = self._plan.health
        if server.back_at is None:
            self._tell(server, False)
        if health is None:
            server.back_at = self._clock() + LEFT_OUT
            return
        server.back_at = float("inf")
        if server.watching is None:
            server.watching = asyncio.ensure_future(self._watch(server, health.keep))

    def _take_back(self, server: _Server) -> None:
        if server.back_at is not None:
            server.back_at = None
            self._tell(server, True)

    def _tell(self, server: _Server, reachable: bool) -> None:
        logs.info("upstream_server", upstream=self._plan.name, server=server.number, reachable=reachable)

    async def _watch(self, server: _Server, every: float) -> None:
        """Ask a server that is left out until it is well."""
        try:
            while server.back_at is not None:
                await asyncio.sleep(every)
                await self.check(server)
        finally:
            server.watching = None

    async def check(self, server: _Server) -> UpstreamResponse | ExchangeError:
        """Ask a server how it is, and leave it out or take it back accordingly."""
        try:
            response = await server.upstream.send(health_request(self._plan))
        except ExchangeError as error:
            self._leave_out(server)
            return error
        if is_healthy(response.status):
            self._take_back(server)
        else:
            self._leave_out(server)
        return response

    async def check_all(self) -> UpstreamResponse:
        """The answer of a server that is well to a check of health; where none is, that of the first.

        Raises:
            ExchangeError: none of them answers.
        """
        found = await asyncio.gather(*map(self.check, self._servers))
        replies = [response for response in found if isinstance(response, UpstreamResponse)]
        for response in (*(r for r in replies if is_healthy(r.status)), *replies):
            return response
        raise next(error for error in found if isinstance(error, ExchangeError))

    async def aclose(self) -> None:
        """Close the connections to all servers."""
        watching = [server.watching for server in self._servers if server.watching is not None]
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        for server in self._servers:
            await server.upstream.aclose()


class _Checks:
    """The servers of an upstream as whoever asks for its health sees them: well while one is."""

    def __init__(self, upstream: BalancedUpstream) -> None:
        self._upstream = upstream

    async def send(self, request: OutgoingRequest, streams: bool = False) -> UpstreamResponse:
        """Ask all of them."""
        return await self._upstream.check_all()

    async def aclose(self) -> None:
        """Nothing is held."""


class _Counted(PumpByNext):
    """The body of a reply; until it has ended or is let go of, its call counts as running."""

    def __init__(self, source: Source, server: _Server) -> None:
        self._source = source
        self._server: _Server | None = server

    async def next(self) -> Batch:
        batch = await self._source.next()
        if batch is None:
            self._end()
        return batch

    async def content(self, limit: int) -> Content:
        content = await self._source.content(limit)
        self._end()
        return content

    async def aclose(self) -> None:
        self._end()
        await self._source.aclose()

    def _end(self) -> None:
        if self._server is not None:
            self._server.running -= 1
            self._server = None
