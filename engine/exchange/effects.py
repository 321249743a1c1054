"""What an exchange asks for on its way.

Contract: an exchange is a generator that yields these, and is sent what they ask for, so that the event loop
and the runner of tests carry out the same one. What goes wrong is thrown into it as an `ExchangeError`.
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
    """Asks to let a request in: it is counted by each of `counters`, a rate and whose requests it counts, and
    takes one of the places of its route."""

    route: RoutePlan
    counters: tuple[tuple[RatePlan, str], ...]


@dataclass(slots=True)
class ReadBody:
    """Asks for the client's body: a `Content` of at most `limit` bytes."""

    limit: int


@dataclass(slots=True)
class OpenBody:
    """Asks for the client's body as it comes: what `UpstreamRequest.body` takes, of at most `limit` bytes, or
    of any number; None where there is none."""

    limit: int | None


@dataclass(slots=True)
class SendCall:
    """Asks for the reply to a call: an `UpstreamReply`, of which only the head is there if `streams`."""

    mapping: MappingPlan
    upstream: UpstreamPlan
    request: UpstreamRequest
    streams: bool = False


@dataclass(slots=True)
class ReadBatch:
    """Asks for what the upstream sends next: bytes, a list of events, or None at its end; a `Later` where it
    does not come within `seconds`."""

    source: Any
    seconds: float | None = None


@dataclass(slots=True)
class BatchTimeout:
    """What is given where a batch has not come in time; `source` takes the place of the one that was read."""

    source: Any


@dataclass(slots=True)
class ReadContent:
    """Asks for all that the upstream still sends: a `Content` of at most `limit` bytes."""

    source: Any
    limit: int


@dataclass(slots=True)
class Release:
    """Asks to read no more of a reply: an upstream that still sends is cut off."""

    source: Any


@dataclass(slots=True)
class Sleep:
    """Asks to go on after so many seconds."""

    seconds: float


@dataclass(slots=True)
class AcquireRetry:
    """Asks whether a call that failed may be made again: True, unless too many of that upstream's calls have
    been made again lately."""

    mapping: MappingPlan
    upstream: UpstreamPlan


@dataclass(slots=True)
class Branch:
    """Steps that are carried out beside others, once those named in `needs` have come to their end."""

    name: str
    needs: frozenset[str]
    steps: Generator[Step, Any, None]


@dataclass(slots=True)
class RunParallel:
    """Asks for branches to be carried out at the same time, at most `limit` of them. They stand so that each
    comes after those it needs. The first that fails ends all."""

    branches: tuple[Branch, ...]
    limit: int | None = None


@dataclass(slots=True)
class CheckHealth:
    """Asks how upstreams are: a mapping of each name to a report `{healthy, status, error, latency_ms}`.

    If `known` nothing is sent: told is what was seen last, and an upstream of which nothing is known is well.
    """

    mapping: MappingPlan
    names: tuple[str, ...]
    known: bool = False


@dataclass(slots=True)
class RenderMetrics:
    """Asks for the metrics of this process: a `Content` in Prometheus's text format."""


@dataclass(slots=True)
class CacheLookup:
    """Asks for the answer that is kept under a key: an `Outbound`, or None."""

    key: str


@dataclass(slots=True)
class CacheStore:
    """Asks to keep an answer for so many seconds."""

    key: str
    response: Response
    seconds: float


Step: TypeAlias = (
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
