"""Health checks of upstreams: the request, and the report on its outcome.

Contract: a report is `{healthy, status, error, latency_ms}`, all JSON values. Must not know how the request
is sent, or what a report is used for.
"""

from __future__ import annotations

from typing import Any

from engine.exchange.outgoing import outgoing
from engine.http.messages import EMPTY, OutgoingRequest, UpstreamRequest
from engine.plan import USER_AGENT, UpstreamPlan


def health_request(plan: UpstreamPlan) -> OutgoingRequest:
    """The request of an upstream's health check.

    Raises:
        ExchangeError: as in `outgoing`.
    """
    health = plan.health
    assert health is not None
    headers = {"user-agent": USER_AGENT, "accept-encoding": "identity", **dict(plan.headers)}
    target = plan.base_path + health.path
    request = UpstreamRequest(plan.name, health.method, target, tuple(headers.items()), EMPTY, health.timeout)
    return outgoing(plan, request)


def is_healthy(status: int) -> bool:
    """Whether a response with this status means that the upstream is healthy."""
    return 200 <= status < 400


def response_report(status: int, latency_ms: float) -> dict[str, Any]:
    """The report on an upstream that responded."""
    error = None if is_healthy(status) else f"status {status}"
    return _report(error is None, status, error, latency_ms)


def failed_report(message: str) -> dict[str, Any]:
    """The report on an upstream that did not respond."""
    return _report(False, None, message, None)


def skipped_report() -> dict[str, Any]:
    """The report on an unchecked upstream: healthy. It has no health check, or responds to calls."""
    return _report(True, None, None, None)


def _report(healthy: bool, status: int | None, error: str | None, latency_ms: float | None) -> dict[str, Any]:
    return {"healthy": healthy, "status": status, "error": error, "latency_ms": latency_ms}
