"""What a request needs, resolved: mappings as they run.

Contract: made by `engine.compiler`, immutable, free of names that would have to be looked up while a request
waits. Must not know YAML, files or sockets.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from engine.http.auth import BearerKeys, Credentials
from engine.http.messages import JSON, MAX_BODY_BYTES
from engine.http.origins import Origins
from engine.http.routing import Leaf, Match, RouteTree
from engine.language.budget import DEFAULT_LIMITS, Limits
from engine.language.codegen import Compiled
from engine.language.schema import BodySchema
from engine.language.spec import MappingSpec, RouteSpec
from engine.resources import distribution_version

#: Which fields of the client's body a route reads: name → the same below it, `ITEM` for any item of a list;
#: True where all of it is read. Under `OTHERS` are the names of fields beside which all others are read.
ReadTree = bool | dict[str | int, Any]
OTHERS: Final = 2

DEFAULT_CONNECTIONS: Final = 200

#: What calls say of who makes them.
USER_AGENT: Final = f"dragoman/{distribution_version()}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Timeouts:
    """Seconds to wait for an upstream: for the connection, for the next bytes, for the whole answer, for the
    whole of a stream."""

    connect: float = 5.0
    read: float = 60.0
    total: float = 600.0
    stream: float = 3600.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RetryPlan:
    """When a call is made again: at most `attempts` in all, after `wait` seconds and then twice as long each
    time, where it failed in one of the ways of `on` (keys of `CALL_FAILURES`) or with one of its statuses."""

    attempts: int
    on: frozenset[str | int]
    wait: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BreakerPlan:
    """After how many failures in a row calls are refused at once, and for how many seconds each time."""

    failures: int
    open: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HealthPlan:
    """How to ask an upstream whether it is well; a result counts for `keep` seconds."""

    method: str
    path: str
    timeout: float
    keep: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class UpstreamPlan:
    """A server that calls go to.

    Attributes:
        name: as the mapping has it.
        origin: `scheme://host:port`, or None for another mapping.
        others: the origins of further servers that calls go to in the same way.
        mapping: the other mapping's name, or None.
        base_path: what stands before the path of every call, without a slash at its end.
        retry: None where a call is made once.
        breaker: None where each call is made.
        connections: how many there may be at a time.
        tls: trust and certificates of its own, or None for the system's trust.
        http2: HTTP/2 is spoken, and nothing else.
        proxy: the URL of a proxy that calls go through, or None; it may hold credentials.
        fields: the header fields that every call has, credentials among them.
        has_credentials: calls carry credentials of ours, so that a 401 or 403 is about these.
    """

    name: str
    origin: str | None
    mapping: str | None
    base_path: str
    headers: tuple[tuple[str, str], ...]
    credentials: Credentials
    timeouts: Timeouts
    retry: RetryPlan | None = None
    health: HealthPlan | None = None
    breaker: BreakerPlan | None = None
    connections: int = DEFAULT_CONNECTIONS
    tls: ssl.SSLContext | None = None
    http2: bool = False
    proxy: str | None = field(default=None, repr=False)
    others: tuple[str, ...] = ()
    has_credentials: bool = False
    fields: Mapping[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        own = {"user-agent": USER_AGENT, "accept": JSON, "accept-encoding": "identity"}
        object.__setattr__(self, "fields", {**own, **dict(self.headers), **dict(self.credentials.headers)})


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class UpstreamChoice:
    """An upstream that each request chooses among those declared. `kind` is the error where it names none."""

    template: Compiled
    among: Mapping[str, UpstreamPlan]
    kind: str = "invalid_request"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PathPart:
    """A piece of a call's path: literal text, or a template whose value is percent-encoded.

    `parameter` is the name of a `{name:path}` parameter, which may span segments, and goes on as it came.
    `kind` is the error where the value cannot stand in a path: `upstream_error` for one of an earlier call.
    """

    text: str
    template: Compiled | None = None
    parameter: str = ""
    kind: str = "invalid_request"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CallPlan:
    """One call, made where `when` holds. Templates take the client's body as their payload.

    Attributes:
        reads: the fields of that body which this call and the answers read.
        name: among several calls; empty for the only one.
        needs: names of the calls that it reads, and so waits for.
        reads_reply: something reads its answer's body by `$calls`.
        continues: a failure is kept in `$calls`, and the answer is made all the same.
        each: the list for whose items the call is made, at most `parallel` at a time.
        cache: for how many seconds its answer is taken again for the same request; None for not at all.
        max_bytes: of its response, where that is translated as a whole, or collected.
        from_calls: the parts (`headers`, `body` …) that read what other calls returned, and nothing of the
            client's request: what fails there is an upstream's fault.
        mixed: the parts that read both.
        has_credentials: it sends credentials of ours, beside those of its upstream.
    """

    when: Compiled | None
    upstream: UpstreamPlan | UpstreamChoice
    method: str
    path: tuple[PathPart, ...]
    query: Compiled | None
    headers: Compiled | None
    body: Compiled | None
    form: Compiled | None
    timeout: float | None
    response_schema: BodySchema | None
    reads: ReadTree = True
    name: str = ""
    needs: frozenset[str] = frozenset()
    reads_upstream_body: bool = False
    continues: bool = False
    each: Compiled | None = None
    parallel: int = 1
    cache: float | None = None
    max_bytes: int = MAX_BODY_BYTES
    from_calls: frozenset[str] = frozenset()
    mixed: frozenset[str] = frozenset()
    has_credentials: bool = False

    def kind(self, part: str) -> str:
        """The error that a failure of a part is."""
        return "upstream_error" if part in self.from_calls else "invalid_request"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ForwardPlan:
    """A request that goes through as it is. `timeout` in seconds, until the answer begins; `replaced` are the
    names that `headers` has, whose fields of the client are not sent; `has_credentials` where it sends
    credentials of ours, beside those of its upstream."""

    upstream: UpstreamPlan | UpstreamChoice
    path: tuple[PathPart, ...]
    headers: Compiled | None
    replaced: frozenset[str]
    timeout: float | None
    has_credentials: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TranslationPlan:
    """How an upstream's events are taken in.

    Attributes:
        framing: where the upstream's Content-Type does not say.
        done: the closing word, which is no JSON.
        state: each name with its first value.
        rules, end, error: `(payload, exchange) → None`, working on `exchange.state` and `exchange.out`.
    """

    framing: str | None
    done: bytes | None
    state: tuple[tuple[str, Compiled], ...]
    rules: Compiled | None
    end: Compiled | None
    error: Compiled | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StreamPlan:
    """An answer that is a stream: translated from an upstream's, or written out from `emit`.

    `every` and `keep_alive` are in seconds.
    """

    translation: TranslationPlan | None
    framing: str
    event: Compiled | None
    done: bytes | None
    emit: Compiled | None
    every: float
    keep_alive: float | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CollectPlan:
    """An answer made from a stream that is read to its end."""

    translation: TranslationPlan


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CasePlan:
    """One possible answer. `for_failures`: it is asked for an upstream's failure too."""

    when: Compiled | None
    for_failures: bool
    status: int | Compiled
    headers: Compiled | None
    body: Compiled | None
    stream: StreamPlan | None = None
    collect: CollectPlan | None = None


def upstreams_of(*parts: CallPlan | ForwardPlan | None) -> tuple[UpstreamPlan | UpstreamChoice, ...]:
    """The upstreams of calls and forwards, in their order."""
    return tuple(part.upstream for part in parts if part is not None)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AttemptPlan:
    """One way to answer, taken where `when` holds.

    Attributes:
        before: calls that are all made before the one of `calls` that holds.
        calls: cases of which the first that holds is made or, if `together`, calls that are all made.
        reads: the fields of the client's body that are read where several calls are made together.
        watched: names of upstreams that it calls in any case, and that have a `health`.
        first_case: how many answers of the route stand before those of this attempt.
        streams: an answer can be made from the upstream's events.
        reads_reply: something reads the upstream's body.
    """

    when: Compiled | None
    before: tuple[CallPlan, ...]
    calls: tuple[CallPlan, ...]
    together: bool
    reads: ReadTree
    forward: ForwardPlan | None
    watched: tuple[str, ...]
    cases: tuple[CasePlan, ...]
    first_case: int
    streams: bool
    reads_upstream_body: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CachePlan:
    """How long an answer is given again, in seconds, on which request headers it depends (None: all), and
    whether it depends on the name of the client's key."""

    seconds: float
    headers: tuple[str, ...] | None
    by_key: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RatePlan:
    """At most `limit` requests in any `seconds`, counted under the name `scope`, `by` the client's `key` (its
    `address` without one), by its `address`, or for `all` together."""

    limit: int
    seconds: int
    by: str
    scope: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ErrorsPlan:
    """A dialect of failures."""

    status: int | Compiled | None = None
    headers: Compiled | None = None
    body: Compiled | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CorsPlan:
    """Which pages of other origins may call; `max_age` in seconds."""

    origins: Origins
    headers: tuple[str, ...]
    expose: tuple[str, ...]
    credentials: bool
    max_age: int


@dataclass(frozen=True, slots=True, eq=False)
class RoutePlan:
    """A route as it runs.

    Attributes:
        pattern: its path with the mapping's prefix.
        max_bytes: of a client's body that is read as a whole.
        max_forwarded: of one that is forwarded as it comes; None for no bound.
        attempts: the ways to answer, in their order; a route without `try` has one.
        keeps_body: the client's body is read before anything is sent, as a `forward` may have to send it
            after another attempt has.
        builtin: `health` or `metrics`, for an answer of the engine's own.
        barred: names of the keys that are for other routes alone.
        rates: how many requests there may be.
        concurrency: how many exchanges there may be at a time; None for no bound.
        usage: what an exchange has used, told by the upstream's body, or by the state of a stream.
    """

    spec: RouteSpec
    method: str
    pattern: str
    wants_key: bool
    max_bytes: int
    max_forwarded: int | None
    schema: BodySchema | None
    reads_body: bool
    rejects_dropped: bool
    timeout: float | None
    cache: CachePlan | None
    attempts: tuple[AttemptPlan, ...]
    keeps_body: bool = False
    builtin: str | None = None
    barred: frozenset[str] = frozenset()
    rates: tuple[RatePlan, ...] = ()
    concurrency: int | None = None
    usage: Compiled | None = None

    @property
    def upstreams(self) -> tuple[str, ...]:
        """The names of the upstreams that it may call, each once, in the order of the file."""
        names: list[str] = []
        for attempt in self.attempts:
            for chosen in upstreams_of(*attempt.before, *attempt.calls, attempt.forward):
                names += (chosen.name,) if isinstance(chosen, UpstreamPlan) else chosen.among
        return tuple(dict.fromkeys(names))

    @property
    def cases(self) -> tuple[CasePlan, ...]:
        """The answers of all attempts."""
        return tuple(case for attempt in self.attempts for case in attempt.cases)


@dataclass(frozen=True, slots=True, eq=False)
class MappingPlan:
    """A mapping as it runs.

    Attributes:
        keys: what clients may present; empty where none is wanted.
        key_rates: how many requests there may be with a key, by its name.
        is_open: the mapping says `auth: none`.
        limits: what one exchange may take.
        tree: its routes without the prefix, as other mappings in the process reach them.
        secrets: what no one is shown, should an upstream repeat it: secret variables and credentials, the
            longest first.
    """

    spec: MappingSpec
    name: str
    prefix: str
    keys: BearerKeys
    key_rates: Mapping[str, RatePlan]
    is_open: bool
    cors: CorsPlan | None
    errors: ErrorsPlan
    upstreams: Mapping[str, UpstreamPlan]
    routes: tuple[RoutePlan, ...]
    tree: PlanTree
    limits: Limits = DEFAULT_LIMITS
    secrets: tuple[bytes, ...] = field(default=(), repr=False)


#: Routes of mappings as a tree; what a path leads to in it; and one route there.
PlanTree: TypeAlias = RouteTree[MappingPlan, RoutePlan]
PlanMatch: TypeAlias = Match[MappingPlan, RoutePlan]
PlanLeaf: TypeAlias = Leaf[MappingPlan, RoutePlan]


@dataclass(frozen=True, slots=True, eq=False)
class PlanSet:
    """All that is served together, by name, and the tree of all its routes."""

    mappings: Mapping[str, MappingPlan]
    tree: PlanTree
