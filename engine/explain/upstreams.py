"""Entries of upstreams: their URLs and settings.

Contract: credentials are masked; only their kind is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from engine.compiler.masking import MASK, Mask
from engine.explain.entries import Entry, duration
from engine.plan import DEFAULT_CONNECTIONS, MappingPlan, UpstreamPlan

#: The origin of an upstream whose URL contains a secret.
_NOWHERE: Final = "http://invalid.invalid"


def upstream_entry(mapping: MappingPlan, plan: UpstreamPlan, mask: Mask) -> Entry:
    """The entry of one upstream."""
    node = mapping.spec.upstreams[plan.name].node
    text = f"{plan.name} → {', '.join(_urls(plan, mask))}"
    return Entry("upstream", text, node.key_span, tuple(_facts(plan, mask)))


def url_of(plan: UpstreamPlan, mask: Mask) -> str:
    """The origin of an upstream."""
    return _origins(plan, mask)[0]


def _origins(plan: UpstreamPlan, mask: Mask) -> list[str]:
    if plan.mapping is not None:
        return [mask.text(f"mapping:{plan.mapping}")]
    origins = (plan.origin or "", *plan.other_origins)
    return [MASK if origin == _NOWHERE else mask.text(origin) for origin in origins]


def _urls(plan: UpstreamPlan, mask: Mask) -> list[str]:
    return [origin + mask.text(plan.base_path) for origin in _origins(plan, mask)]


def _facts(plan: UpstreamPlan, mask: Mask) -> Iterator[Entry]:
    if plan.auth.is_configured:
        yield Entry("auth", mask.text(plan.auth.describe()))
    for name, value in plan.headers:
        yield Entry("header", f"{name}: {mask.header(name, value)}")
    if plan.mapping is None:
        yield from _connections(plan, mask)
    yield from _failures(plan)


def _connections(plan: UpstreamPlan, mask: Mask) -> Iterator[Entry]:
    times = plan.timeouts
    limits = {"connect": times.connect, "read": times.read, "total": times.total, "stream": times.stream}
    yield Entry("timeout", ", ".join(f"{name} {duration(seconds)}" for name, seconds in limits.items()))
    if plan.connections != DEFAULT_CONNECTIONS:
        yield Entry("connections", f"at most {plan.connections}")
    if plan.http2:
        yield Entry("http2", "HTTP/2 only")
    if plan.tls is not None:
        yield Entry("tls", "custom trust store or client certificate")
    if plan.proxy is not None:
        yield Entry("proxy", _without_credentials(plan.proxy, mask))


def _failures(plan: UpstreamPlan) -> Iterator[Entry]:
    if plan.retry is not None:
        on = ", ".join(sorted(map(str, plan.retry.on)))
        text = f"at most {plan.retry.attempts} attempts, on {on}; backoff from {duration(plan.retry.wait)}"
        yield Entry("retry", text)
    if plan.breaker is not None:
        text = f"open for {duration(plan.breaker.open)} after {plan.breaker.failures} consecutive failures"
        yield Entry("breaker", text)
    if plan.health is not None:
        text = f"{plan.health.method} {plan.health.path} within {duration(plan.health.timeout)}"
        yield Entry("health", f"{text}; results are reused for {duration(plan.health.cache_seconds)}")


def _without_credentials(url: str, mask: Mask) -> str:
    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    return mask.text(f"{parts.scheme}://" + (f"{MASK}@" if credentials else "") + host)
