"""Load balancing over the servers of an upstream: least active calls first.

Contract: an unreachable server is ejected for a while, or until a health check succeeds. If all servers are
ejected, all are used. Must not know how a call is sent.
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

#: Seconds for which a server is ejected if the upstream has no health check.
EJECTION_SECONDS: Final = 5.0


@dataclass(slots=True, eq=False)
class _Server:
    """One server; `ejected_until` is the end of its ejection, or None if it is not ejected."""

    number: int
    upstream: Upstream
    running: int = 0
    ejected_until: float | None = None
    watching: asyncio.Task[None] | None = None


class BalancedUpstream:
    """The servers of one upstream. `open_server` makes an adapter; `clock` returns monotonic seconds."""

    def __init__(
        self,
        plan: UpstreamPlan,
        open_server: Callable[[UpstreamPlan], Upstream],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert plan.origin is not None
        self._plan = plan
        self._clock = clock
        origins = (plan.origin, *plan.other_origins)
        plans = [replace(plan, origin=origin, other_origins=()) for origin in origins]
        self._servers = [_Server(number, open_server(plan)) for number, plan in enumerate(plans, 1)]
        self._turn = 0
        self.checks = _HealthChecks(self)

    @property
    def is_available(self) -> bool:
        """Whether at least one server is not ejected."""
        return any(server.ejected_until is None for server in self._servers)

    async def send(self, request: OutgoingRequest, streams: bool = False) -> UpstreamResponse:
        """Send one request to the server with the fewest active calls."""
        return await self._send(self._select(), request, streams)

    def _select(self) -> _Server:
        """The server with the fewest active calls; round-robin among equals."""
        now = self._clock()
        candidates = [
            s for s in self._servers if s.ejected_until is None or s.ejected_until <= now
        ] or self._servers
        count = len(self._servers)
        selected = min(
            candidates, key=lambda server: (server.running, (server.number - 1 - self._turn) % count)
        )
        self._turn = selected.number % count
        if selected.ejected_until is not None and self._plan.health is None:
            # This call is a trial; other calls use other servers until its result is known.
            selected.ejected_until = now + EJECTION_SECONDS
        return selected

    async def _send(self, server: _Server, request: OutgoingRequest, streams: bool) -> UpstreamResponse:
        server.running += 1
        try:
            response = await server.upstream.send(request, streams)
        except BaseException as error:
            server.running -= 1
            if isinstance(error, ExchangeError) and error.how == "connect":
                self._eject(server)
            raise
        if self._plan.health is None:
            self._readmit(server)
        if response.source is None:
            server.running -= 1
        else:
            response.source = _CountedSource(response.source, server)
        return response

    # Ejection

    def _eject(self, server: _Server) -> None:
        health = self._plan.health
        if server.ejected_until is None:
            self._report(server, False)
        if health is None:
            server.ejected_until = self._clock() + EJECTION_SECONDS
            return
        server.ejected_until = float("inf")
        if server.watching is None:
            server.watching = asyncio.ensure_future(self._watch(server, health.cache_seconds))

    def _readmit(self, server: _Server) -> None:
        if server.ejected_until is not None:
            server.ejected_until = None
            self._report(server, True)

    def _report(self, server: _Server, reachable: bool) -> None:
        logs.info("upstream_server", upstream=self._plan.name, server=server.number, reachable=reachable)

    async def _watch(self, server: _Server, every: float) -> None:
        """Check an ejected server until it is healthy."""
        try:
            while server.ejected_until is not None:
                await asyncio.sleep(every)
                await self.check(server)
        finally:
            server.watching = None

    async def check(self, server: _Server) -> UpstreamResponse | ExchangeError:
        """Check the health of a server, and eject or readmit it accordingly."""
        try:
            response = await server.upstream.send(health_request(self._plan))
        except ExchangeError as error:
            self._eject(server)
            return error
        if is_healthy(response.status):
            self._readmit(server)
        else:
            self._eject(server)
        return response

    async def check_all(self) -> UpstreamResponse:
        """Check all servers; returns the response of a healthy one, or else the first response.

        Raises:
            ExchangeError: no server responds.
        """
        found = await asyncio.gather(*map(self.check, self._servers))
        responses = [response for response in found if isinstance(response, UpstreamResponse)]
        for response in (*(r for r in responses if is_healthy(r.status)), *responses):
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


class _HealthChecks:
    """The servers of an upstream as one, for health checks: healthy while at least one server is."""

    def __init__(self, upstream: BalancedUpstream) -> None:
        self._upstream = upstream

    async def send(self, request: OutgoingRequest, streams: bool = False) -> UpstreamResponse:
        """Check all servers."""
        return await self._upstream.check_all()

    async def aclose(self) -> None:
        """Does nothing: `BalancedUpstream` closes the servers."""


class _CountedSource(PumpByNext):
    """The body of a response; its call is active until the body has ended or is closed."""

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
