"""Responses of `builtin` routes: the health of upstreams, and the metrics of the process."""

from __future__ import annotations

from typing import Any

from engine.exchange.effects import CheckHealth, Effects, RenderMetrics
from engine.exchange.event_stream import Response
from engine.exchange.exchange import Exchange
from engine.exchange.response import response_from
from engine.exchange.response_content import make_response
from engine.http.messages import CompleteResponse
from engine.plan import MappingPlan, RoutePlan


def builtin_response(mapping: MappingPlan, route: RoutePlan, exchange: Exchange) -> Effects[Response]:
    """The response of a route with `builtin`."""
    if route.builtin == "metrics":
        content = yield from RenderMetrics()
        return CompleteResponse(200, (("cache-control", "no-store"),), content)
    report = yield from _health(mapping)
    if route.attempts:
        return response_from(route.attempts[0], exchange, report, "internal")
    status = 503 if report["status"] == "down" else 200
    return make_response(status, {"cache-control": "no-store"}, report, "internal")


def _health(mapping: MappingPlan) -> Effects[dict[str, Any]]:
    """Returns `{status, upstreams: [{name, healthy, status, error, latency_ms}]}` for a mapping. The status
    is `ok`, `degraded` if an upstream is unhealthy, or `down` if all are."""
    names = tuple(name for name, plan in mapping.upstreams.items() if plan.health is not None)
    reports = (yield from CheckHealth(mapping, names)) if names else {}
    healthy = [report["healthy"] for report in reports.values()]
    status = "ok" if all(healthy) else "degraded" if any(healthy) else "down"
    return {"status": status, "upstreams": [{"name": name, **reports[name]} for name in names]}
