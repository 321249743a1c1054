"""The figures of this process, for Prometheus. The only importer of prometheus_client.

Contract: labels are names of the mappings' own (routes, upstreams, kinds of failures), never values of
requests, so that their number is bounded.
"""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest

from engine.exchange import Answered
from engine.messages import Content

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_ROUTE: Final = ("mapping", "http_route", "http_request_method")

_requests = Histogram(
    "http_server_request_duration_seconds",
    "Time from a request to the end of its answer.",
    (*_ROUTE, "http_response_status_code"),
    buckets=_SECONDS,
)
_failures = Counter("dragoman_failures", "Requests that failed, by kind.", ("mapping", "kind"))
_calls = Counter(
    "dragoman_upstream_calls", "Calls to upstreams, by what came of them.", ("mapping", "upstream", "outcome")
)
in_flight = Gauge("http_server_active_requests", "Requests that are being answered.")
_reloads = Counter("dragoman_reloads", "Times that mappings were loaded anew, by outcome.", ("outcome",))
_generation = Gauge("dragoman_plan_generation", "How many sets of plans were served, this one included.")


def reload(outcome: str) -> None:
    """Count a reload, which was `done` or `failed`."""
    _reloads.labels(outcome).inc()


def generation(number: int) -> None:
    """Another set of plans is served."""
    _generation.set(number)


def exchange(answered: Answered) -> None:
    """Count an exchange that has come to its end."""
    mapping = answered.mapping.name if answered.mapping else ""
    route = answered.route
    pattern, method = (route.pattern, route.method) if route else ("", "")
    seconds = (time.monotonic_ns() - answered.exchange.started_ns) / 1e9
    _requests.labels(mapping, pattern, method, str(answered.outbound.status)).observe(seconds)
    if answered.error is not None:
        _failures.labels(mapping, answered.error.kind).inc()
    for upstream, outcome in answered.exchange.tried:
        _calls.labels(mapping, upstream, str(outcome)).inc()


def exposition() -> Content:
    """All figures, in Prometheus's text format."""
    return Content(generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
