"""How upstreams are: asked where somebody wants to know, and noted from the calls that are made anyway.

Contract: only upstreams with a `health` in their mapping are kept an eye on. One that was found to be down is
asked again in the background until it is well; one that is well is asked only for a report. A report counts
for the time of its plan, and is asked for once however many want it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.client.upstream import Upstream
from engine.errors import ExchangeError
from engine.exchange import CheckHealth, failed_report, health_request, response_report, skipped_report
from engine.observability import logs
from engine.plan import UpstreamPlan

#: The ways of a call to fail that tell of the upstream, not of the call.
_TELLING: Final = ("connect", "timeout")

Key = tuple[str, str]


@dataclass(slots=True)
class _State:
    """What is known of one upstream; `at` is when, on the clock of `time.monotonic`."""

    plan: UpstreamPlan
    upstream: Upstream
    report: dict[str, Any] | None = None
    at: float = 0.0
    asking: asyncio.Task[dict[str, Any]] | None = None
    watching: asyncio.Task[None] | None = None

    @property
    def is_down(self) -> bool:
        return self.report is not None and not self.report["healthy"]


class Health:
    """The upstreams of a set of plans, by mapping and name."""

    def __init__(self, upstreams: Mapping[Key, tuple[UpstreamPlan, Upstream]]) -> None:
        self._states = {
            key: _State(plan, upstream)
            for key, (plan, upstream) in upstreams.items()
            if plan.health is not None
        }

    async def ask(self, step: CheckHealth) -> dict[str, dict[str, Any]]:
        """Reports `{healthy, status, error, latency_ms}` by name; what is known, or what they say now."""
        states = {name: self._states[step.mapping.name, name] for name in step.names}
        if step.known:
            return {name: state.report or skipped_report() for name, state in states.items()}
        reports = await asyncio.gather(*(self._fresh(state) for state in states.values()))
        return dict(zip(states, reports, strict=True))

    def note(self, key: Key, error: ExchangeError | None) -> None:
        """What a call to an upstream has shown of it."""
        state = self._states.get(key)
        if state is None:
            return
        if error is None:
            if state.is_down:
                self._learn(state, skipped_report())
        elif error.how in _TELLING:
            self._learn(state, failed_report(error.message))

    async def aclose(self) -> None:
        """End all questions."""
        tasks = [task for s in self._states.values() for task in (s.asking, s.watching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Asking

    async def _fresh(self, state: _State) -> dict[str, Any]:
        plan = state.plan.health
        assert plan is not None
        if state.report is not None and time.monotonic() - state.at < plan.keep:
            return state.report
        if state.asking is None:
            state.asking = asyncio.ensure_future(self._asked(state))
        # One that stops waiting must not take the answer from the others.
        return await asyncio.shield(state.asking)

    async def _asked(self, state: _State) -> dict[str, Any]:
        try:
            report = await _check(state)
            self._learn(state, report)
            return report
        finally:
            state.asking = None

    def _learn(self, state: _State, report: dict[str, Any]) -> None:
        was_down = state.is_down
        state.report, state.at = report, time.monotonic()
        if state.is_down and state.watching is None:
            state.watching = asyncio.ensure_future(self._watch(state))
        if state.is_down != was_down:
            logs.info("upstream_health", upstream=state.plan.name, healthy=not state.is_down)

    async def _watch(self, state: _State) -> None:
        """Ask an upstream that is down until it is well."""
        plan = state.plan.health
        assert plan is not None
        try:
            while state.is_down:
                await asyncio.sleep(plan.keep)
                state.at = 0.0
                await self._fresh(state)
        finally:
            state.watching = None


async def _check(state: _State) -> dict[str, Any]:
    """Send the request of the plan."""
    started = time.monotonic()
    try:
        response = await state.upstream.send(health_request(state.plan))
    except ExchangeError as error:
        return failed_report(error.message)
    return response_report(response.status, round((time.monotonic() - started) * 1000, 3))
