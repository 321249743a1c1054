"""The figures of serving, for Prometheus, named after OpenTelemetry's conventions for HTTP and gen_ai.

Contract: labels are names of the mappings' own (routes, upstreams, kinds of failures), never values of
requests, so that their number is bounded. Processes that `share` a directory are told of as one.
The only importer of prometheus_client.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

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

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_TOKENS: Final = tuple(4**power for power in range(14))
_Kind = TypeVar("_Kind")
_ROUTE: Final = ("mapping", "http_route", "http_request_method")


class _Count:
    """What a counter has had since it was last written down: the library's way costs several times as much,
    and a lock."""

    __slots__ = ("_child", "_left")

    def __init__(self, child: Counter) -> None:
        self._child = child
        self._left = 0

    def inc(self, amount: int = 1) -> None:
        """Count."""
        self._left += amount

    def write_down(self) -> None:
        """Give the library what it has not been given."""
        left, self._left = self._left, 0
        if left:
            self._child.inc(left)


class _Values:
    """What a histogram has had since it was last written down."""

    __slots__ = ("_bounds", "_child", "_counts", "_sum")

    def __init__(self, child: Histogram) -> None:
        self._child = child
        self._bounds: list[float] = child._upper_bounds
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Take a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def write_down(self) -> None:
        """Give the library what it has not been given; it has no way of its own for many values at once."""
        if not any(self._counts):
            return
        for index, count in enumerate(self._counts):
            if count:
                self._child._buckets[index].inc(count)
        self._child._sum.inc(self._sum)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0


class _Kept(dict[tuple[Any, ...], _Kind]):
    """Figures by what they are of, a family of the library, and by their labels."""

    def __init__(self, make: Callable[[Any], _Kind]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: tuple[Any, ...]) -> _Kind:
        family, *labels = key
        made = self[key] = self._make(family.labels(*labels))
        return made


class _Figures:
    """All figures, in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.counters: _Kept[_Count] = _Kept(_Count)
        self.histograms: _Kept[_Values] = _Kept(_Values)
        self.requests = self._histogram(
            "http_server_request_duration_seconds",
            "Time from a request to the end of its answer.",
            (*_ROUTE, "http_response_status_code"),
        )
        self.active = self._gauge(
            "http_server_active_requests", "Requests that are being answered.", "livesum"
        )
        self.failures = self._counter(
            "dragoman_failures", "Requests that failed, by kind.", ("mapping", "kind")
        )
        call = ("mapping", "upstream", "outcome")
        self.calls = self._counter(
            "dragoman_upstream_calls", "Calls to upstreams, by what came of them.", call
        )
        self.call_seconds = self._histogram(
            "http_client_request_duration_seconds",
            "Time from a call to its answer; to the head of one that is read as it comes.",
            call,
        )
        self.first_event = self._histogram(
            "dragoman_time_to_first_event_seconds",
            "Time from a request to the first event of its stream.",
            ("mapping", "http_route"),
        )
        self.events = self._counter(
            "dragoman_stream_events", "Events sent to clients.", ("mapping", "http_route")
        )
        self.tokens = self._histogram(
            "gen_ai_client_token_usage",
            "Tokens of an exchange, as its mapping names them.",
            ("mapping", "http_route", "gen_ai_token_type"),
            _TOKENS,
        )
        self.breakers = self._gauge(
            "dragoman_upstream_breaker_open",
            "1 where calls to an upstream are refused.",
            "livemax",
            ("mapping", "upstream"),
        )
        self.limits_failures = self._counter(
            "dragoman_limits_storage_failures",
            "Requests that were let through as the storage of limits failed.",
        )
        self.reloads = self._counter(
            "dragoman_reloads", "Times that mappings were loaded anew, by outcome.", ("outcome",)
        )
        self.generation = self._gauge(
            "dragoman_plan_generation", "The number of the set of plans that is served.", "livemin"
        )

    def write_down(self) -> None:
        """Let the registry know all that was counted."""
        for counted in self.counters.values():
            counted.write_down()
        for observed in self.histograms.values():
            observed.write_down()

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, mode: Any, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry, multiprocess_mode=mode)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...] = _SECONDS
    ) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)


class _State:
    """The figures of this process; `directory` is what it shares with others, `running` counts requests."""

    def __init__(self) -> None:
        self.figures = _Figures(REGISTRY)
        self.directory: str | None = None
        self.running: Callable[[], int] = lambda: 0


_state: Final = _State()


# --- Several processes -----------------------------------------------------------------------------------


def share(directory: str) -> None:
    """Add the figures up with those of other processes, by files in a directory; to be called before the
    first figure, and before the processes part."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
    _state.directory = directory
    _state.figures = _Figures(CollectorRegistry())


def ended(process: int) -> None:
    """A process that shared its figures is no more: what it was doing does not count any longer."""
    assert _state.directory is not None
    multiprocess.mark_process_dead(process, _state.directory)  # type: ignore[no-untyped-call]


# --- What is counted -------------------------------------------------------------------------------------


def follow(running: Callable[[], int]) -> None:
    """How many requests are being answered is asked of `running`."""
    _state.running = running
    if _state.directory is None:
        _state.figures.active.set_function(running)


def tick() -> None:
    """To be called some times a second: tells other processes what cannot be asked from there."""
    if _state.directory is not None:
        _state.figures.active.set(_state.running())
        _state.figures.write_down()


def reload(outcome: str) -> None:
    """Count a reload, which was `done` or `failed`."""
    _state.figures.reloads.labels(outcome).inc()


def generation(number: int) -> None:
    """Another set of plans is served."""
    _state.figures.generation.set(number)


def breaker(mapping: str, upstream: str, is_open: bool) -> None:
    """Calls to an upstream are refused from now on, or made again."""
    _state.figures.breakers.labels(mapping, upstream).set(int(is_open))


def limits_failed() -> None:
    """A request was let through, as it could not be counted."""
    _state.figures.limits_failures.inc()


def call(mapping: str, upstream: str, outcome: int | str, seconds: float) -> None:
    """A call was answered, or failed in some way."""
    figures = _state.figures
    figures.histograms[figures.call_seconds, mapping, upstream, str(outcome)].observe(seconds)


def exchange(result: ExchangeResult, usage: Mapping[str, int]) -> None:
    """Count an exchange that has come to its end; `usage` is its tokens by direction."""
    figures = _state.figures
    mapping = result.mapping.name if result.mapping else ""
    route = result.route
    pattern, method = (route.pattern, route.method) if route else ("", "")
    started = result.exchange.started_ns
    status = str(result.response.status)
    seconds = (time.monotonic_ns() - started) / 1e9
    figures.histograms[figures.requests, mapping, pattern, method, status].observe(seconds)
    if result.error is not None:
        figures.counters[figures.failures, mapping, result.error.kind].inc()
    for upstream, outcome in result.exchange.tried:
        figures.counters[figures.calls, mapping, upstream, str(outcome)].inc()
    if result.events:
        figures.counters[figures.events, mapping, pattern].inc(result.events)
        seconds = (result.first_event_ns - started) / 1e9
        figures.histograms[figures.first_event, mapping, pattern].observe(seconds)
    for direction, tokens in usage.items():
        figures.histograms[figures.tokens, mapping, pattern, direction].observe(tokens)


def abandoned(match: PlanMatch, inbound: Inbound, started_ns: int) -> None:
    """Count an exchange whose client has left (status 499, as in the log)."""
    leaf = match.found(inbound.method)
    if leaf is None:
        return
    seconds = (time.monotonic_ns() - started_ns) / 1e9
    figures = _state.figures
    mapping, route = leaf.owner.name, leaf.route
    figures.histograms[figures.requests, mapping, route.pattern, route.method, "499"].observe(seconds)
    figures.counters[figures.failures, mapping, "client_left"].inc()


def exposition() -> Content:
    """All figures, in Prometheus's text format."""
    if _state.directory is None:
        _state.figures.write_down()
        return Content(generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
    tick()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, _state.directory)  # type: ignore[no-untyped-call]
    return Content(generate_latest(registry), CONTENT_TYPE_LATEST)
