"""Execution plans: compiled mappings with every name resolved.

Contract: `engine.compiler` creates plans; they are immutable. Handling a request needs no lookup by name.
Must not know YAML, files or sockets.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from engine.http.auth import BLANK_REQUEST, NO_AUTH, NO_CREDENTIALS, BearerKeys, Credentials, UpstreamAuth
from engine.http.messages import JSON, MAX_BODY_BYTES
from engine.http.origins import Origins
from engine.http.routing import Leaf, Match, RouteTree
from engine.language.budget import DEFAULT_LIMITS, Limits
from engine.language.codegen import Compiled
from engine.language.durations import seconds_of
from engine.language.merging import MergeRule
from engine.language.schema import BodySchema
from engine.language.spec import (
    DEFAULT_CONNECTIONS,
    Builtin,
    MappingSpec,
    PartsSpec,
    RateKey,
    RouteSpec,
    TimeoutSpec,
)
from engine.language.spec_reader import defaults
from engine.language.uses import VariablePath
from engine.locations import Node, Span
from engine.resources import distribution_version

#: The fields of the client's body that a route reads: name → the tree below it, with `ITEM` for any item of
#: a list, or True if the complete value is read. `OTHERS` → excluded names: all other fields are read.
ReadTree = bool | dict[str | int, Any]
OTHERS: Final = 2

#: The `User-Agent` of calls.
USER_AGENT: Final = f"dragoman/{distribution_version()}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Timeouts:
    """Timeouts of an upstream in seconds: to connect, between reads, for a complete response, for a complete
    stream."""

    connect: float
    read: float
    total: float
    stream: float


DEFAULT_TIMEOUTS: Final = Timeouts(**{key: seconds_of(text) for key, text in defaults(TimeoutSpec).items()})


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RetryPlan:
    """Retries of a call: at most `attempts` requests in total, with exponential backoff that starts at `wait`
    seconds and doubles. `on` has the failures (keys of `CALL_FAILURES`) and statuses that are retried."""

    attempts: int
    on: frozenset[str | int]
    wait: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BreakerPlan:
    """A circuit breaker: opens after `failures` consecutive failures, for `open` seconds."""

    failures: int
    open: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HealthPlan:
    """A health check of an upstream. `timeout` is in seconds; a result is reused for `cache_seconds`."""

    method: str
    path: str
    timeout: float
    cache_seconds: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class UpstreamPlan:
    """An upstream: one or more equivalent servers, or another mapping.

    Attributes:
        name: its name in the mapping.
        origin: `scheme://host:port`, or None for another mapping.
        other_origins: the origins of further servers; calls are balanced over all of them.
        mapping: the name of the other mapping, or None.
        base_path: the prefix of the path of every call, without a trailing slash.
        retry: None if calls are not retried.
        breaker: None if there is no circuit breaker.
        connections: the maximum number of open connections.
        tls: its own trust store and client certificate, or None for the system's trust store.
        http2: use HTTP/2 only.
        proxy: the URL of an HTTP proxy, or None; it may contain credentials.
        auth: how requests are authenticated.
        credentials: what `auth` adds to every request; None if that differs between requests.
        fields: the header fields of every call, without credentials.
        has_credentials: calls carry the mapping's own credentials, so a 401 or 403 concerns these and not the
            client's.
    """

    name: str
    origin: str | None
    mapping: str | None
    base_path: str
    headers: tuple[tuple[str, str], ...]
    timeouts: Timeouts
    auth: UpstreamAuth = NO_AUTH
    retry: RetryPlan | None = None
    health: HealthPlan | None = None
    breaker: BreakerPlan | None = None
    connections: int = DEFAULT_CONNECTIONS
    tls: ssl.SSLContext | None = None
    http2: bool = False
    proxy: str | None = field(default=None, repr=False)
    other_origins: tuple[str, ...] = ()
    has_credentials: bool = False
    fields: Mapping[str, str] = field(init=False, repr=False)
    credentials: Credentials | None = field(init=False)

    def __post_init__(self) -> None:
        own = {"user-agent": USER_AGENT, "accept": JSON, "accept-encoding": "identity"}
        object.__setattr__(self, "fields", {**own, **dict(self.headers)})
        object.__setattr__(self, "credentials", static_credentials(self.auth))


def static_credentials(auth: UpstreamAuth) -> Credentials | None:
    """What is added to every request; None where it is not the same for all of them.

    Raises:
        AuthError: it cannot be made.
    """
    if not auth.is_configured:
        return NO_CREDENTIALS
    return auth.apply(BLANK_REQUEST) if auth.is_static else None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class UpstreamChoice:
    """An upstream that each request selects from `candidates`. `kind` is the error for an unknown name."""

    template: Compiled
    candidates: Mapping[str, UpstreamPlan]
    kind: str = "invalid_request"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PathPart:
    """A piece of a call's path: literal text, or a template whose value is percent-encoded.

    `parameter` is the name of a `{name:path}` parameter, which may span segments and is forwarded unchanged.
    `kind` is the error if the value is not allowed in a path: `upstream_error` if another call returned it.
    `written` is the template as text, for the log; `client_name` is what the client calls the value, if the
    client sends it: `query.page`, or a field of the body.
    """

    text: str
    template: Compiled | None = None
    parameter: str = ""
    kind: str = "invalid_request"
    written: str = ""
    client_name: str = ""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CallPlan:
    """One call, made if `when` is true. The payload of its templates is the client's body.

    Attributes:
        reads: the fields of the client's body that this call and the responses read.
        name: its name under `calls`; empty under `call`.
        needs: names of the calls whose results it reads and therefore waits for.
        reads_upstream_body: a template reads its response body through `$calls`.
        continues_on_error: a failure is recorded in `$calls`, and the exchange continues.
        each: a list; the call is made for each item, at most `parallel` at a time.
        cache: the lifetime of its cached response in seconds; None for no caching.
        max_bytes: the maximum size of a response that is buffered, or of a stream that is merged.
        from_calls: the parts (`headers`, `body` …) that read results of other calls and nothing of the
            client's request; an evaluation error there is an upstream error.
        mixed: the parts that read both.
        has_credentials: it sends the mapping's own credentials, in addition to those of its upstream.
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
    continues_on_error: bool = False
    each: Compiled | None = None
    parallel: int = 1
    cache: float | None = None
    max_bytes: int = MAX_BODY_BYTES
    from_calls: frozenset[str] = frozenset()
    mixed: frozenset[str] = frozenset()
    has_credentials: bool = False

    def kind(self, part: str) -> str:
        """The kind of error if a part cannot be evaluated."""
        return "upstream_error" if part in self.from_calls else "invalid_request"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ForwardPlan:
    """A request that is forwarded unchanged.

    Attributes:
        replaced: names of the client's header fields that are not forwarded, because `headers` sets them.
        timeout: seconds until the response head.
        has_credentials: it sends the mapping's own credentials, in addition to those of its upstream.
    """

    upstream: UpstreamPlan | UpstreamChoice
    path: tuple[PathPart, ...]
    headers: Compiled | None
    replaced: frozenset[str]
    timeout: float | None
    has_credentials: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TranslationPlan:
    """How the events of an upstream stream are processed: by the reader and the writer of a pipeline.

    Attributes:
        framing: the framing if the Content-Type of the response does not determine it.
        done: the end marker, such as `[DONE]`; not JSON.
        state: each name with its initial value.
        rules, ends, error: functions `(payload, exchange) → None` that update `exchange.state`, append events
            to `exchange.out`, and pass partial responses to `exchange.take`. Without `rules`, each event is a
            partial response. `ends` run in order at the end, with the payload null.
        needs_done: a stream that ends without its end marker is truncated.
        takes_text: data of an event that is not JSON is text, not an error.
    """

    framing: str | None
    done: bytes | None
    state: tuple[tuple[str, Compiled], ...]
    rules: Compiled | None
    ends: tuple[Compiled, ...]
    error: Compiled | None
    needs_done: bool = False
    takes_text: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StreamPlan:
    """A streaming response: of a pipeline, with a `translation`, or generated.

    Attributes:
        event, identifier: the name and the id of an event, whose payload is the event.
        done: the end marker.
        emit: the template of all events of a generated stream. In a pipeline, `(part, exchange) → None`: the
            templates, then the rules of the writer, which append to `exchange.out`.
        every: seconds between two events of a generated stream.
        keep_alive: seconds without an event after which a comment is sent.
    """

    translation: TranslationPlan | None
    framing: str
    event: Compiled | None
    identifier: Compiled | None
    done: bytes | None
    emit: Compiled | None
    every: float
    keep_alive: float | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PipelinePlan:
    """A response that is described once, for streams and for complete responses.

    Attributes:
        read: reads the upstream's events and passes partial responses to `exchange.take`.
        whole: passes a complete response, which is its only event, to `exchange.take`, and then does what the
            writer does at the end.
        complete: makes a complete response of the upstream have the shape of the partial ones.
        merge: how partial responses merge.
        translate: the templates: a complete response → the client's body.
        stream: the client's stream; its `translation` is `read` with what the writer does at the end. None
            without a writer.
        stream_when: whether the client wants a stream.
        client_merge: how a client merges the writer's parts; None if that is not declared.
        span: the location of the pipeline.
        stages: each stage with its name, which is empty for a stream in place.
        start: `(null, exchange) → None`: appends the events that are sent as soon as the head of the
            upstream's response has arrived.
    """

    read: TranslationPlan
    whole: TranslationPlan
    complete: Compiled | None
    merge: MergeRule
    translate: Compiled
    stream: StreamPlan | None
    stream_when: Compiled | None
    client_merge: MergeRule | None
    span: Span
    stages: tuple[tuple[str, PartsSpec | Node], ...] = ()
    start: Compiled | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CasePlan:
    """One possible response, sent if `when` is true; after an upstream error only if `handles_errors`."""

    when: Compiled | None
    handles_errors: bool
    status: int | Compiled
    headers: Compiled | None
    body: Compiled | None
    stream: StreamPlan | None = None
    pipeline: PipelinePlan | None = None


def upstreams_of(*parts: CallPlan | ForwardPlan | None) -> tuple[UpstreamPlan | UpstreamChoice, ...]:
    """The upstreams of calls and forwards, in order."""
    return tuple(part.upstream for part in parts if part is not None)


def possible_upstreams(*parts: CallPlan | ForwardPlan | None) -> Iterator[UpstreamPlan]:
    """Every upstream that calls and forwards may go to, in the order of the file."""
    for chosen in upstreams_of(*parts):
        yield from (chosen,) if isinstance(chosen, UpstreamPlan) else chosen.candidates.values()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AttemptPlan:
    """One way to handle a request, taken if `when` is true.

    Attributes:
        before: named calls that are all made before the selected one of `calls`.
        calls: all are made if `makes_all_calls`, else only the first whose `when` is true.
        reads: the fields of the client's body that all calls and responses read.
        health_checked: names of the fixed upstreams of its calls that have a `health`.
        first_case: the number of responses in the attempts before this one.
        reads_upstream_body: a response reads the upstream's body.
        streaming_cases: the responses up to the last one with a pipeline; they are selected before the
            upstream's body is read, because it may be a stream.
    """

    when: Compiled | None
    before: tuple[CallPlan, ...]
    calls: tuple[CallPlan, ...]
    makes_all_calls: bool
    reads: ReadTree
    forward: ForwardPlan | None
    health_checked: tuple[str, ...]
    cases: tuple[CasePlan, ...]
    first_case: int
    reads_upstream_body: bool
    streaming_cases: tuple[CasePlan, ...] = field(init=False)

    def __post_init__(self) -> None:
        streaming = [n for n, case in enumerate(self.cases, 1) if case.pipeline is not None]
        object.__setattr__(self, "streaming_cases", self.cases[: streaming[-1] if streaming else 0])

    @property
    def streams(self) -> bool:
        """Whether a response may be made from the upstream's events."""
        return bool(self.streaming_cases)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CachePlan:
    """Caching of a route's responses: lifetime in seconds, request headers in the cache key (None: all), and
    whether the name of the client's key is part of it."""

    seconds: float
    headers: tuple[str, ...] | None
    by_key: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RatePlan:
    """A rate limit: at most `limit` requests in any `seconds`, counted under the name `scope`, `by` the
    client's `key` (its `address` without one), its `address`, or for `all` clients together."""

    limit: int
    seconds: int
    by: RateKey
    scope: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ErrorsPlan:
    """The error format of a mapping."""

    status: int | Compiled | None = None
    headers: Compiled | None = None
    body: Compiled | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CorsPlan:
    """CORS: the origins whose pages may call; `max_age` is in seconds."""

    origins: Origins
    headers: tuple[str, ...]
    expose: tuple[str, ...]
    credentials: bool
    max_age: int


@dataclass(frozen=True, slots=True, eq=False)
class RoutePlan:
    """A compiled route.

    Attributes:
        pattern: its path with the mapping's prefix.
        max_bytes: the maximum size of a request body that is buffered.
        max_forwarded: the maximum size of a request body that is streamed to the upstream; None for no limit.
        checks: raises the error of the first check that refuses the request; None without checks.
        drops: the fields of the client's body that are declared as not carried over.
        attempts: in order; a route without `try` has one.
        buffers_body: the client's body is read before anything is sent, because a `forward` may have to send
            it after another attempt, or the authentication of its upstream needs it.
        builtin: `health` or `metrics` if the engine produces the response itself.
        denied_keys: names of the keys that are limited to other routes.
        rates: rate limits.
        concurrency: the maximum number of concurrent exchanges; None for no limit.
        usage: computes usage counts from a response, or from a part of one.
        usage_fields: without any of these fields a response has no counts; None if it may have some.
        cases: the responses of all attempts.
    """

    spec: RouteSpec
    method: str
    pattern: str
    requires_key: bool
    max_bytes: int
    max_forwarded: int | None
    schema: BodySchema | None
    checks: Compiled | None
    drops: tuple[VariablePath, ...]
    reads_body: bool
    rejects_dropped: bool
    timeout: float | None
    cache: CachePlan | None
    attempts: tuple[AttemptPlan, ...]
    buffers_body: bool = False
    builtin: Builtin | None = None
    denied_keys: frozenset[str] = frozenset()
    rates: tuple[RatePlan, ...] = ()
    concurrency: int | None = None
    usage: Compiled | None = None
    usage_fields: frozenset[str] | None = None
    cases: tuple[CasePlan, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cases", tuple(case for each in self.attempts for case in each.cases))

    @property
    def upstreams(self) -> tuple[str, ...]:
        """The names of the upstreams that it may call, without duplicates, in file order."""
        found = (possible_upstreams(*a.before, *a.calls, a.forward) for a in self.attempts)
        return tuple(dict.fromkeys(upstream.name for upstreams in found for upstream in upstreams))


@dataclass(frozen=True, slots=True, eq=False)
class MappingPlan:
    """A compiled mapping.

    Attributes:
        keys: the keys that clients may present; empty if no key is required.
        key_rates: rate limits by name of a key.
        is_public: clients can call it; only other mappings can call one that is not public.
        is_open: the mapping has `auth: none`.
        limits: the limits of one exchange.
        tree: its routes without the prefix, for calls from other mappings in the process.
        secrets: values to mask if an upstream repeats them: secret variables and credentials, longest first.
    """

    spec: MappingSpec
    name: str
    prefix: str
    keys: BearerKeys
    key_rates: Mapping[str, RatePlan]
    is_public: bool
    is_open: bool
    cors: CorsPlan | None
    errors: ErrorsPlan
    upstreams: Mapping[str, UpstreamPlan]
    routes: tuple[RoutePlan, ...]
    tree: PlanTree
    limits: Limits = DEFAULT_LIMITS
    secrets: tuple[bytes, ...] = field(default=(), repr=False)


#: The route tree of mappings, the result of a lookup in it, and one route in it.
PlanTree: TypeAlias = RouteTree[MappingPlan, RoutePlan]
PlanMatch: TypeAlias = Match[MappingPlan, RoutePlan]
PlanLeaf: TypeAlias = Leaf[MappingPlan, RoutePlan]


@dataclass(frozen=True, slots=True, eq=False)
class PlanSet:
    """All mappings of a process, by name, and the tree of the routes that clients can call."""

    mappings: Mapping[str, MappingPlan]
    tree: PlanTree

    @property
    def public(self) -> tuple[MappingPlan, ...]:
        """The mappings that clients can call."""
        return tuple(mapping for mapping in self.mappings.values() if mapping.is_public)

    def find(self, path: str, method: str) -> PlanMatch:
        """The routes of a path: those that clients can call, or else those that only mappings can call."""
        match = self.tree.find(path, method)
        others = () if match.found(method) else self.mappings.values()
        inner = (mapping.tree.find(path, method) for mapping in others if not mapping.is_public)
        return next((found for found in inner if found.found(method)), match)
