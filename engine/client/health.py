"""Health of upstreams, from active checks and from the results of regular calls.

Contract: tracks only upstreams whose mapping has `health`. An unhealthy upstream is checked in the background
until it is healthy; a healthy one is checked only when a report is requested. A report is cached for the time
in its plan, and concurrent requests share one check.
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

#: The kinds of failed calls that are caused by the upstream, not by the call.
_UPSTREAM_FAILURES: Final = ("connect", "timeout")

Key = tuple[str, str]


@dataclass(slots=True)
class _State:
    """The state of one upstream; `reported_at` is the time of its report, by `time.monotonic`."""

    plan: UpstreamPlan
    upstream: Upstream
    report: dict[str, Any] | None = None
    reported_at: float = 0.0
    checking: asyncio.Task[dict[str, Any]] | None = None
    watcher: asyncio.Task[None] | None = None

    @property
    def is_down(self) -> bool:
        return self.report is not None and not self.report["healthy"]


class Health:
    """The health of the upstreams of a set of plans, by mapping and name."""

    def __init__(self, upstreams: Mapping[Key, tuple[UpstreamPlan, Upstream]]) -> None:
        self._states = {
            key: _State(plan, upstream)
            for key, (plan, upstream) in upstreams.items()
            if plan.health is not None
        }

    async def report(self, effect: CheckHealth) -> dict[str, dict[str, Any]]:
        """Reports `{healthy, status, error, latency_ms}` by name: the last known ones, or new ones."""
        states = {name: self._states[effect.mapping.name, name] for name in effect.names}
        if effect.known:
            return {name: state.report or skipped_report() for name, state in states.items()}
        reports = await asyncio.gather(*(self._current_report(state) for state in states.values()))
        return dict(zip(states, reports, strict=True))

    def record(self, key: Key, error: ExchangeError | None) -> None:
        """Record the result of a regular call; None for `error` is success."""
        state = self._states.get(key)
        if state is None:
            return
        if error is None:
            if state.is_down:
                self._update(state, skipped_report())
        elif error.how in _UPSTREAM_FAILURES:
            self._update(state, failed_report(error.message))

    async def aclose(self) -> None:
        """Cancel all checks."""
        tasks = [task for s in self._states.values() for task in (s.checking, s.watcher) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Checks

    async def _current_report(self, state: _State) -> dict[str, Any]:
        plan = state.plan.health
        assert plan is not None
        if state.report is not None and time.monotonic() - state.reported_at < plan.cache_seconds:
            return state.report
        if state.checking is None:
            state.checking = asyncio.ensure_future(self._run_check(state))
        # A caller that is cancelled must not cancel the check for the others.
        return await asyncio.shield(state.checking)

    async def _run_check(self, state: _State) -> dict[str, Any]:
        try:
            report = await _check(state)
            self._update(state, report)
            return report
        finally:
            state.checking = None

    def _update(self, state: _State, report: dict[str, Any]) -> None:
        was_down = state.is_down
        state.report, state.reported_at = report, time.monotonic()
        if state.is_down and state.watcher is None:
            state.watcher = asyncio.ensure_future(self._watch(state))
        if state.is_down != was_down:
            logs.info("upstream_health", upstream=state.plan.name, healthy=not state.is_down)

    async def _watch(self, state: _State) -> None:
        """Check an unhealthy upstream until it is healthy."""
        plan = state.plan.health
        assert plan is not None
        try:
            while state.is_down:
                await asyncio.sleep(plan.cache_seconds)
                state.reported_at = 0.0
                await self._current_report(state)
        finally:
            state.watcher = None


async def _check(state: _State) -> dict[str, Any]:
    """Send the request of a health check."""
    started = time.monotonic()
    try:
        response = await state.upstream.send(health_request(state.plan))
    except ExchangeError as error:
        return failed_report(error.message)
    return response_report(response.status, round((time.monotonic() - started) * 1000, 3))
