"""Effects: the I/O that an exchange requests from its runner.

Contract: an exchange is a generator that yields effects. Its runner (the event loop, or the runner of tests)
performs each of them and sends the result back, or throws the `ExchangeError` that occurred.
Must not know how a body is read or a call is sent.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from engine.http.messages import (
    Batch,
    BodySource,
    CompleteResponse,
    Content,
    OutgoingRequest,
    Source,
    UpstreamResponse,
)
from engine.plan import MappingPlan, RatePlan, RoutePlan, UpstreamPlan

T = TypeVar("T")
Result = TypeVar("Result", covariant=True)


class Effect(Generic[Result]):
    """I/O with a result of type `Result`: `result = yield from effect` requests it and returns its result."""

    __slots__ = ()

    def __iter__(self) -> Generator[Effect[object], Any, Result]:
        result: Result = yield self
        return result


#: Code that yields effects and returns a `T`.
Effects: TypeAlias = Generator[Effect[object], Any, T]


@dataclass(slots=True)
class Admit(Effect[None]):
    """Count a request against its rate limits, and acquire a concurrency slot of its route.

    Each of `counters` is a rate and the subject whose requests it counts.
    """

    route: RoutePlan
    counters: tuple[tuple[RatePlan, str], ...]


@dataclass(slots=True)
class ReadBody(Effect[Content]):
    """Read the client's body: a `Content` of at most `limit` bytes."""

    limit: int


@dataclass(slots=True)
class OpenBody(Effect[BodySource | None]):
    """Open the client's body for streaming: a `BodySource` of at most `limit` bytes (None for no limit), or
    None if the request has no body."""

    limit: int | None


@dataclass(slots=True)
class SendCall(Effect[UpstreamResponse]):
    """Send a call: an `UpstreamResponse`, which may have only its head and a `source` if `streams`."""

    mapping: MappingPlan
    upstream: UpstreamPlan
    request: OutgoingRequest
    streams: bool = False


@dataclass(slots=True)
class BatchTimeout:
    """The result of `ReadBatch` if no batch arrived in time. `source` replaces the source that was read: its
    read is still in progress."""

    source: Source


@dataclass(slots=True)
class ReadBatch(Effect[Batch | BatchTimeout]):
    """Read the next batch from an upstream: bytes, a list of events, or None at the end; `BatchTimeout` if
    none arrives within `seconds`."""

    source: Source
    seconds: float | None = None


@dataclass(slots=True)
class ReadContent(Effect[Content]):
    """Read the rest of an upstream's body: a `Content` of at most `limit` bytes."""

    source: Source
    limit: int


@dataclass(slots=True)
class Release(Effect[None]):
    """Close the source of a response; an upstream that is still sending is disconnected."""

    source: Source | None


@dataclass(slots=True)
class Sleep(Effect[None]):
    """Wait for this number of seconds."""

    seconds: float


@dataclass(slots=True)
class AcquireRetry(Effect[bool]):
    """Take a retry from an upstream's retry budget: True, or False if the budget is used up."""

    mapping: MappingPlan
    upstream: UpstreamPlan


@dataclass(slots=True)
class Branch:
    """Effects that run concurrently with other branches, once the branches named in `needs` have finished."""

    name: str
    needs: frozenset[str]
    effects: Effects[None]


@dataclass(slots=True)
class RunParallel(Effect[None]):
    """Run branches concurrently, at most `limit` at a time. Each follows the branches that it needs. The
    first failure cancels the others."""

    branches: tuple[Branch, ...]
    limit: int | None = None


@dataclass(slots=True)
class CheckHealth(Effect[dict[str, dict[str, Any]]]):
    """Check the health of upstreams: a report `{healthy, status, error, latency_ms}` for each name.

    If `known`, no request is sent: the reports are the latest observations, and an upstream without any
    counts as healthy.
    """

    mapping: MappingPlan
    names: tuple[str, ...]
    known: bool = False


@dataclass(slots=True)
class RenderMetrics(Effect[Content]):
    """Render the metrics of this process: a `Content` in the Prometheus text format."""


@dataclass(slots=True)
class CacheLookup(Effect[CompleteResponse | None]):
    """Look up a cached response: a `CompleteResponse`, or None."""

    key: str


@dataclass(slots=True)
class CacheStore(Effect[None]):
    """Cache a response for this number of seconds."""

    key: str
    response: CompleteResponse
    seconds: float
