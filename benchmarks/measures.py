"""What is measured, as a table: each measure is taken of one contender in one slice.

Two kinds: those with a `take` are taken of servers that are up, in turn, round after round; the others need a
server of their own, or come from others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import load
from benchmarks.load import Expected
from benchmarks.requests import Asks
from benchmarks.servers import Server


@dataclass(frozen=True, slots=True)
class Slice:
    """One server for a while: what it can be asked, what right answers are like, and how long in seconds."""

    server: Server
    asks: Asks
    expected: dict[str, Expected]
    seconds: float


def _counts(s: Slice, ask: str) -> load.Counts:
    return load.counts(s.server.port, s.asks[ask], s.expected[ask], s.seconds)


def _responses(ask: str) -> Callable[[Slice], float]:
    def take(s: Slice) -> float:
        found = _counts(s, ask)
        return found.responses / found.seconds

    return take


def _events(ask: str) -> Callable[[Slice], float]:
    def take(s: Slice) -> float:
        found = _counts(s, ask)
        return found.events / found.seconds

    return take


def _cpu(ask: str, of: Callable[[load.Counts], float]) -> Callable[[Slice], float]:
    """Microseconds of the server's CPU time for each of what `of` counts."""

    def take(s: Slice) -> float:
        before = s.server.cpu_seconds
        found = _counts(s, ask)
        return (s.server.cpu_seconds - before) / of(found) * 1e6

    return take


def _all_responses(found: load.Counts) -> float:
    return found.all_responses


def _all_events(found: load.Counts) -> float:
    return found.all_events


def _first_event(s: Slice) -> float:
    return load.first_event(s.server.port, s.asks["first"], s.expected["first"], s.seconds) * 1e3


def _paced(s: Slice) -> float:
    return load.paced(s.server.port, s.asks["paced"], s.seconds) * 1e3


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured.

    Attributes:
        ask: what a contender must know to be asked, for it to take part.
        take: the figure of one slice; None where the figure is taken otherwise.
        length: a slice of it is so many times as long as others.
    """

    name: str
    title: str
    unit: str
    ask: str
    take: Callable[[Slice], float] | None = None
    more_is_better: bool = True
    length: float = 1.0


MEASURES = (
    Measure("models-cpu", "list of 10 models: CPU", "µs", "models", _cpu("models", _all_responses), False),
    Measure("chat-cpu", "complete chat: CPU", "µs", "chat", _cpu("chat", _all_responses), False),
    Measure("chunk-cpu", "chunk of a stream: CPU", "µs", "burst", _cpu("burst", _all_events), False),
    Measure("models", "list of 10 models, remapped", "requests/s", "models", _responses("models")),
    Measure("chat", "chat, whole answer", "requests/s", "chat", _responses("chat")),
    Measure("chunks", "stream as fast as it comes", "chunks/s", "burst", _events("burst")),
    Measure("first", "time to the first event", "ms", "first", _first_event, False, 0.5),
    Measure("latency", "a chunk's way, 100 paced streams", "ms", "paced", _paced, False, 1.5),
    Measure("added", "what is added to a chunk's way", "ms", "paced", None, False),
    Measure("start", "start to first answer", "s", "models", None, False),
    Measure("idle", "memory when idle", "MB", "models", None, False),
    Measure("loaded", "memory after load", "MB", "models", None, False),
    Measure("held", "memory of a silent stream", "kB", "idle", None, False),
    Measure("routes", "1,000 routes against 10: time", "×", "routes", None, False),
)
