"""The table of measures.

A measure with `take` is taken in slices of the running servers, in turn, in each round. The others need a
server of their own, or are computed from other measures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import load
from benchmarks.load import Expected
from benchmarks.requests import Requests
from benchmarks.servers import Server


@dataclass(frozen=True, slots=True)
class Slice:
    """One server's share of a round: its requests, their expected responses, and the duration in seconds."""

    server: Server
    requests: Requests
    expected: dict[str, Expected]
    seconds: float


def _counts(s: Slice, request: str) -> load.Counts:
    return load.counts(s.server.port, s.requests[request], s.expected[request], s.seconds)


def _responses(request: str) -> Callable[[Slice], float]:
    def take(s: Slice) -> float:
        found = _counts(s, request)
        return found.responses / found.seconds

    return take


def _events(request: str) -> Callable[[Slice], float]:
    def take(s: Slice) -> float:
        found = _counts(s, request)
        return found.events / found.seconds

    return take


def _cpu(request: str, of: Callable[[load.Counts], float]) -> Callable[[Slice], float]:
    """Returns the microseconds of the server's CPU time per item that `of` counts."""

    def take(s: Slice) -> float:
        before = s.server.cpu_seconds
        found = _counts(s, request)
        return (s.server.cpu_seconds - before) / of(found) * 1e6

    return take


def _all_responses(found: load.Counts) -> float:
    return found.all_responses


def _all_events(found: load.Counts) -> float:
    return found.all_events


def _first_event(s: Slice) -> float:
    return load.first_event(s.server.port, s.requests["first"], s.expected["first"], s.seconds) * 1e3


def _paced(s: Slice) -> float:
    return load.paced(s.server.port, s.requests["paced"], s.seconds) * 1e3


@dataclass(frozen=True, slots=True)
class Measure:
    """A quantity that is measured.

    Attributes:
        request: the name of the request; contenders without it do not take part.
        take: returns the result of one slice; None if the measure is taken elsewhere.
        length: the duration of its slices, relative to the configured one.
    """

    name: str
    title: str
    unit: str
    request: str
    take: Callable[[Slice], float] | None = None
    more_is_better: bool = True
    length: float = 1.0


MEASURES = (
    Measure("models-cpu", "list of 10 models: CPU", "µs", "models", _cpu("models", _all_responses), False),
    Measure("chat-cpu", "complete chat: CPU", "µs", "chat", _cpu("chat", _all_responses), False),
    Measure("chunk-cpu", "chunk of a stream: CPU", "µs", "burst", _cpu("burst", _all_events), False),
    Measure("models", "list of 10 models, remapped", "requests/s", "models", _responses("models")),
    Measure("chat", "chat, non-streaming", "requests/s", "chat", _responses("chat")),
    Measure("chunks", "chat, streaming", "chunks/s", "burst", _events("burst")),
    Measure("first", "time to first event", "ms", "first", _first_event, False, 0.5),
    Measure("latency", "chunk latency, 100 paced streams", "ms", "paced", _paced, False, 1.5),
    Measure("added", "chunk latency added by the proxy", "ms", "paced", None, False),
    Measure("start", "startup to first response", "s", "models", None, False),
    Measure("idle", "memory when idle", "MB", "models", None, False),
    Measure("loaded", "memory after load", "MB", "models", None, False),
    Measure("held", "memory per idle stream", "kB", "idle", None, False),
    Measure("routes", "time with 1,000 routes, relative to 10", "×", "routes", None, False),
)
