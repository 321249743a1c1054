"""Effects: the I/O that an exchange requests from its runner.

Contract: an exchange is a generator that yields effects. Its runner (the event loop, or the runner of tests)
performs each of them and sends the result back, or throws the `ExchangeError` that occurred.
Must not know how a body is read or a call is sent.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

from engine.http.messages import Response, UpstreamRequest
from engine.plan import MappingPlan, RatePlan, RoutePlan, UpstreamPlan


@dataclass(slots=True)
class Admit:
    """Count a request against its rate limits, and acquire a concurrency slot of its route.

    Each of `counters` is a rate and the subject whose requests it counts.
    """

    route: RoutePlan
    counters: tuple[tuple[RatePlan, str], ...]


@dataclass(slots=True)
class ReadBody:
    """Read the client's body: a `Content` of at most `limit` bytes."""

    limit: int


@dataclass(slots=True)
class OpenBody:
    """Open the client's body for streaming: a `BodySource` of at most `limit` bytes (None for no limit), or
    None if the request has no body."""

    limit: int | None


@dataclass(slots=True)
class SendCall:
    """Send a call: an `UpstreamResponse`, which may have only its head and a `source` if `streams`."""

    mapping: MappingPlan
    upstream: UpstreamPlan
    request: UpstreamRequest
    streams: bool = False


@dataclass(slots=True)
class ReadBatch:
    """Read the next batch from an upstream: bytes, a list of events, or None at the end; `BatchTimeout` if
    none arrives within `seconds`."""

    source: Any
    seconds: float | None = None


@dataclass(slots=True)
class BatchTimeout:
    """The result of `ReadBatch` if no batch arrived in time. `source` replaces the source that was read: its
    read is still in progress."""

    source: Any


@dataclass(slots=True)
class ReadContent:
    """Read the rest of an upstream's body: a `Content` of at most `limit` bytes."""

    source: Any
    limit: int


@dataclass(slots=True)
class Release:
    """Close the source of a response; an upstream that is still sending is disconnected."""

    source: Any


@dataclass(slots=True)
class Sleep:
    """Wait for this number of seconds."""

    seconds: float


@dataclass(slots=True)
class AcquireRetry:
    """Take a retry from an upstream's retry budget: True, or False if the budget is used up."""

    mapping: MappingPlan
    upstream: UpstreamPlan


@dataclass(slots=True)
class Branch:
    """Effects that run concurrently with other branches, once the branches named in `needs` have finished."""

    name: str
    needs: frozenset[str]
    effects: Generator[Effect, Any, None]


@dataclass(slots=True)
class RunParallel:
    """Run branches concurrently, at most `limit` at a time. Each follows the branches that it needs. The
    first failure cancels the others."""

    branches: tuple[Branch, ...]
    limit: int | None = None


@dataclass(slots=True)
class CheckHealth:
    """Check the health of upstreams: a report `{healthy, status, error, latency_ms}` for each name.

    If `known`, no request is sent: the reports are the latest observations, and an upstream without any
    counts as healthy.
    """

    mapping: MappingPlan
    names: tuple[str, ...]
    known: bool = False


@dataclass(slots=True)
class RenderMetrics:
    """Render the metrics of this process: a `Content` in the Prometheus text format."""


@dataclass(slots=True)
class CacheLookup:
    """Look up a cached response: a `Response`, or None."""

    key: str


@dataclass(slots=True)
class CacheStore:
    """Cache a response for this number of seconds."""

    key: str
    response: Response
    seconds: float


Effect: TypeAlias = (
    Admit
    | ReadBody
    | OpenBody
    | SendCall
    | ReadBatch
    | ReadContent
    | Release
    | Sleep
    | AcquireRetry
    | RunParallel
    | CheckHealth
    | RenderMetrics
    | CacheLookup
    | CacheStore
)
