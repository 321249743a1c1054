"""Prometheus metrics of serving, named after OpenTelemetry's conventions for HTTP and gen_ai.

Contract: label values are names from mappings (mappings, routes, upstreams), statuses and kinds of error,
never values of requests, so the number of time series is bounded. Worker processes are exposed as one. Uses
the public API of prometheus_client alone, and is its only importer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, Self, TypeVar

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)

from engine.exchange import ExchangeResult
from engine.http.messages import Content, Inbound
from engine.plan import PlanMatch

_SECONDS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))
_ROUTE_LABELS: Final = ("mapping", "http_route", "http_request_method")


class _Labelled(Protocol):
    def labels(self, *labelvalues: Any) -> Self:
        """The child with these label values."""
        ...


_Family = TypeVar("_Family", bound=_Labelled)


class _Children(dict[tuple[Any, ...], _Family]):
    """Children of metric families by `(family, *label values)`; `family.labels()` takes a lock and converts
    the values on each call."""

    def __missing__(self, key: tuple[Any, ...]) -> _Family:
        family, *label_values = key
        child: _Family = family.labels(*label_values)
        self[key] = child
        return child


class _Metrics:
    """All metric families, in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.counters: _Children[Counter] = _Children()
        self.histograms: _Children[Histogram] = _Children()
        self.request_seconds = self._histogram(
            "http_server_request_duration_seconds",
            "Duration of requests, to the end of the response.",
            (*_ROUTE_LABELS, "http_response_status_code"),
        )
        self.active_requests = self._gauge(
            "http_server_active_requests", "Requests in progress.", multiprocess_mode="livesum"
        )
        self.errors = self._counter(
            "dragoman_errors", "Requests that failed, by kind of error.", ("mapping", "kind")
        )
        self.call_seconds = self._histogram(
            "http_client_request_duration_seconds",
            "Duration of calls to upstreams, to the end of the response or the head of a streaming one.",
            ("mapping", "upstream", "outcome"),
        )
        self.first_event_seconds = self._histogram(
            "dragoman_time_to_first_event_seconds",
            "Time from a request to the first event of a streaming response.",
            ("mapping", "http_route"),
        )
        self.events = self._counter(
            "dragoman_stream_events", "Events sent in streaming responses.", ("mapping", "http_route")
        )
        self.tokens = self._histogram(
            "gen_ai_client_token_usage",
            "Input and output tokens of a request.",
            ("mapping", "http_route", "gen_ai_token_type"),
            _TOKEN_BUCKETS,
        )
        self.breakers = self._gauge(
            "dragoman_upstream_breaker_open",
            "1 while the circuit breaker of an upstream is open, else 0.",
            ("mapping", "upstream"),
            multiprocess_mode="livemax",
        )
        self.limits_storage_failures = self._counter(
            "dragoman_limits_storage_failures",
            "Requests allowed because the storage of rate limits failed.",
        )
        self.reloads = self._counter("dragoman_reloads", "Reloads of mappings, by outcome.", ("outcome",))
        self.generation = self._gauge(
            "dragoman_plan_generation",
            "Generation of the mappings in use, from 1; of several workers, the lowest.",
            multiprocess_mode="livemin",
        )

    def _counter(self, name: str, documentation: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(name, documentation, labels, registry=self._registry)

    def _gauge(
        self, name: str, documentation: str, labels: tuple[str, ...] = (), *, multiprocess_mode: Any
    ) -> Gauge:
        return Gauge(
            name, documentation, labels, registry=self._registry, multiprocess_mode=multiprocess_mode
        )

    def _histogram(
        self,
        name: str,
        documentation: str,
        labels: tuple[str, ...],
        buckets: tuple[float, ...] = _SECONDS_BUCKETS,
    ) -> Histogram:
        return Histogram(name, documentation, labels, registry=self._registry, buckets=buckets)


class _State:
    """The metrics of this process.

    Attributes:
        directory: the files shared with other processes; None for a single process.
        count_active_requests: returns the number of requests in progress.
    """

    def __init__(self) -> None:
        self.metrics = _Metrics(REGISTRY)
        self.directory: str | None = None
        self.count_active_requests: Callable[[], int] = lambda: 0


_state: Final = _State()


# --- Several processes -----------------------------------------------------------------------------------


def enable_multiprocess(directory: str) -> None:
    """Aggregate the metrics of this process and its children through files in a directory. Call it before the
    first metric is recorded and before the process forks."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    # The library has read the variable already, when it was imported.
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
    _state.directory = directory
    _state.metrics = _Metrics(CollectorRegistry())


def mark_process_dead(process: int) -> None:
    """Remove the gauges of a process that has ended, but not its counters and histograms."""
    assert _state.directory is not None
    multiprocess.mark_process_dead(process, _state.directory)  # type: ignore[no-untyped-call]


# --- Recording -------------------------------------------------------------------------------------------


def observe_active_requests(count: Callable[[], int]) -> None:
    """Take the number of requests in progress from `count`."""
    _state.count_active_requests = count
    if _state.directory is None:
        _state.metrics.active_requests.set_function(count)


def update_active_requests() -> None:
    """Publish the number of requests in progress to the other processes; called several times a second."""
    if _state.directory is not None:
        _state.metrics.active_requests.set(_state.count_active_requests())


def record_reload(outcome: str) -> None:
    """Count a reload, whose outcome is `done` or `failed`."""
    _state.metrics.reloads.labels(outcome).inc()


def set_generation(number: int) -> None:
    """Set the generation of the mappings in use."""
    _state.metrics.generation.set(number)


def set_breaker(mapping: str, upstream: str, is_open: bool) -> None:
    """Set whether the circuit breaker of an upstream is open."""
    _state.metrics.breakers.labels(mapping, upstream).set(int(is_open))


def record_limits_storage_failure() -> None:
    """Count a request that was allowed because it could not be counted."""
    _state.metrics.limits_storage_failures.inc()


def record_call(mapping: str, upstream: str, outcome: int | str, seconds: float) -> None:
    """Observe the duration of a call to an upstream; `outcome` is its status or kind of failure."""
    metrics = _state.metrics
    metrics.histograms[metrics.call_seconds, mapping, upstream, outcome].observe(seconds)


def record_exchange(result: ExchangeResult, usage: Mapping[str, int]) -> None:
    """Record a finished exchange; `usage` is its number of tokens by type."""
    metrics = _state.metrics
    mapping = result.mapping.name if result.mapping else ""
    route = result.route
    pattern, method = (route.pattern, route.method) if route else ("", "")
    started = result.exchange.started_ns
    status = result.response.status
    seconds = (time.monotonic_ns() - started) / 1e9
    metrics.histograms[metrics.request_seconds, mapping, pattern, method, status].observe(seconds)
    if result.error is not None:
        metrics.counters[metrics.errors, mapping, result.error.kind].inc()
    if result.events:
        metrics.counters[metrics.events, mapping, pattern].inc(result.events)
        seconds = (result.first_event_ns - started) / 1e9
        metrics.histograms[metrics.first_event_seconds, mapping, pattern].observe(seconds)
    for token_type, tokens in usage.items():
        metrics.histograms[metrics.tokens, mapping, pattern, token_type].observe(tokens)


def record_client_disconnect(match: PlanMatch, inbound: Inbound, started_ns: int) -> None:
    """Record an exchange whose client disconnected before the end of the response (status 499)."""
    leaf = match.found(inbound.method)
    if leaf is None:
        return
    seconds = (time.monotonic_ns() - started_ns) / 1e9
    metrics = _state.metrics
    mapping, route = leaf.owner.name, leaf.route
    metrics.histograms[metrics.request_seconds, mapping, route.pattern, route.method, "499"].observe(seconds)
    metrics.counters[metrics.errors, mapping, "client_disconnected"].inc()


def exposition() -> Content:
    """All metrics in Prometheus's text format."""
    if _state.directory is None:
        return Content(generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
    update_active_requests()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, _state.directory)  # type: ignore[no-untyped-call]
    return Content(generate_latest(registry), CONTENT_TYPE_LATEST)
