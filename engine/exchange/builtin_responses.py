"""Answers of the engine's own: how the upstreams are, and the metrics of the process."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from engine.exchange.effects import CheckHealth, RenderMetrics, Step
from engine.exchange.exchange import Exchange
from engine.exchange.response import response_from
from engine.exchange.response_content import outbound_of
from engine.http.messages import Response
from engine.plan import MappingPlan, RoutePlan


def builtin_response(
    mapping: MappingPlan, route: RoutePlan, exchange: Exchange
) -> Generator[Step, Any, Response]:
    """The answer of a route with `builtin`."""
    if route.builtin == "metrics":
        content = yield RenderMetrics()
        return Response(200, (("cache-control", "no-store"),), content)
    report = yield from _health(mapping)
    if route.attempts:
        return response_from(route.attempts[0], exchange, report, "internal")
    status = 503 if report["status"] == "down" else 200
    return outbound_of(status, {"cache-control": "no-store"}, report, "internal")


def _health(mapping: MappingPlan) -> Generator[Step, Any, dict[str, Any]]:
    """`{status, upstreams: [{name, healthy, status, error, latency_ms}]}` of a mapping; its status is `ok`,
    `degraded` where one upstream is not well, or `down` where none is."""
    names = tuple(name for name, plan in mapping.upstreams.items() if plan.health is not None)
    reports = (yield CheckHealth(mapping, names)) if names else {}
    well = [report["healthy"] for report in reports.values()]
    status = "ok" if all(well) else "degraded" if any(well) else "down"
    return {"status": status, "upstreams": [{"name": name, **reports[name]} for name in names]}
