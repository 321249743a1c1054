"""How an upstream is asked whether it is well, and what its answer tells.

Contract: a report is `{healthy, status, error, latency_ms}`, JSON values all. Must not know how it is asked,
nor what is done with a report.
"""

from __future__ import annotations

from typing import Any

from engine.exchange.outgoing import outgoing
from engine.http.messages import EMPTY, OutgoingRequest, UpstreamRequest
from engine.plan import USER_AGENT, UpstreamPlan


def health_request(plan: UpstreamPlan) -> OutgoingRequest:
    """The request of an upstream's `health`.

    Raises:
        ExchangeError: as `outgoing`.
    """
    health = plan.health
    assert health is not None
    headers = {"user-agent": USER_AGENT, "accept-encoding": "identity", **dict(plan.headers)}
    target = plan.base_path + health.path
    request = UpstreamRequest(plan.name, health.method, target, tuple(headers.items()), EMPTY, health.timeout)
    return outgoing(plan, request)


def is_healthy(status: int) -> bool:
    """Whether an answer with this status says that the upstream is well."""
    return 200 <= status < 400


def response_report(status: int, latency_ms: float) -> dict[str, Any]:
    """The report on an upstream that has answered."""
    error = None if is_healthy(status) else f"status {status}"
    return _report(error is None, status, error, latency_ms)


def failed_report(message: str) -> dict[str, Any]:
    """The report on an upstream that has not."""
    return _report(False, None, message, None)


def skipped_report() -> dict[str, Any]:
    """The report on an upstream of which nothing is known, or that answers calls: it is well."""
    return _report(True, None, None, None)


def _report(healthy: bool, status: int | None, error: str | None, latency_ms: float | None) -> dict[str, Any]:
    return {"healthy": healthy, "status": status, "error": error, "latency_ms": latency_ms}
