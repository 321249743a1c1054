"""Mappings as frozen data: the keys of the YAML, not yet interpreted.

Contract: each class is a definition of the schema, and each field a key with its type and default (a test
compares them); `spec_reader` reads a document that is valid by the schema. A value that can contain an
expression remains a `Node`. Must not know how anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Final, Literal, TypeAlias

from engine.http.messages import MAX_BODY_BYTES
from engine.language.budget import DEFAULT_LIMITS
from engine.language.spec_reader import Duration, Number, Spec, read_spec
from engine.locations import Document, Node

Builtin: TypeAlias = Literal["health", "metrics"]
#: What a rate limit counts by.
RateKey: TypeAlias = Literal["key", "address", "all"]

DEFAULT_CONNECTIONS: Final = 200


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EnvSpec(Spec):
    """An environment variable: its location and its options."""

    default: str | None = None
    required: bool = False
    secret: bool = False
    description: str | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TimeoutSpec(Spec):
    """The timeouts of an upstream."""

    connect: Duration = "5s"
    read: Duration = "60s"
    total: Duration = "10m"
    stream: Duration = "1h"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RetrySpec(Spec):
    """When to retry a call; `on` has names of failures and statuses."""

    attempts: Number = 2
    on: tuple[str | int, ...] = ("connect", 502, 503, 504)
    wait: Duration = "100ms"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HealthSpec(Spec):
    """The health check of an upstream. Short form: `GET /path`."""

    method: Literal["GET", "HEAD"] = "GET"
    path: Node
    timeout: Duration = "2s"
    keep: Duration = "5s"

    @classmethod
    def from_short(cls, node: Node) -> HealthSpec:
        method, path = node.value.split(" ", 1)
        return cls(node=node, method=method, path=node.part(len(method) + 1, path))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BreakerSpec(Spec):
    """The circuit breaker of an upstream. Short form: the number of failures."""

    failures: Number = 20
    open: Duration = "5s"

    @classmethod
    def from_short(cls, node: Node) -> BreakerSpec:
        return cls(node=node, failures=node)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TlsSpec(Spec):
    """TLS for an upstream."""

    ca_file: Node | None = None
    certificate: Node | None = None
    key: Node | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class UpstreamSpec(Spec):
    """A server that routes may call; all of it is evaluated at load."""

    url: Node
    timeout: TimeoutSpec | None = None
    headers: Node | None = None
    auth: Node | None = None
    retry: RetrySpec | None = None
    health: HealthSpec | None = None
    breaker: BreakerSpec | None = None
    connections: Number = DEFAULT_CONNECTIONS
    tls: TlsSpec | None = None
    http2: bool = False
    proxy: Node | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RateLimitSpec(Spec):
    """A rate limit. Short form: the limit."""

    limit: Node
    by: RateKey = "key"

    @classmethod
    def from_short(cls, node: Node) -> RateLimitSpec:
        return cls(node=node, limit=node)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ErrorsSpec(Spec):
    """The error format."""

    status: Node | None = None
    headers: Node | None = None
    body: Node | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CorsSpec(Spec):
    """Which pages of other origins may call (CORS)."""

    origins: Node
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    credentials: bool = False
    max_age: Duration = "10m"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LimitsSpec(Spec):
    """The limits of one exchange."""

    steps: Number = DEFAULT_LIMITS.steps
    bytes: Number = DEFAULT_LIMITS.bytes


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CheckSpec(Spec):
    """A condition under which a request is refused; `fail` has a message, or a kind and a message."""

    when: Node
    fail: Node


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RequestSpec(Spec):
    """The checks of a route on its requests."""

    schema: Node | None = None
    max_bytes: Number = MAX_BODY_BYTES
    checks: tuple[CheckSpec, ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CallSpec(Spec):
    """A call. Short form: `METHOD upstream /path`."""

    when: Node | None = None
    upstream: Node
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] | None = None
    path: Node
    query: Node | None = None
    headers: Node | None = None
    body: Node | None = None
    form: Node | None = None
    timeout: Duration | None = None
    response_schema: Node | None = None
    on_error: Literal["fail", "continue"] = "fail"
    each: Node | None = None
    parallel: Number = 8
    cache: Duration | None = None
    max_bytes: Number = MAX_BODY_BYTES

    @classmethod
    def from_short(cls, node: Node) -> CallSpec:
        method, upstream, path = node.value.split(" ", 2)
        start = len(method) + 1
        return cls(
            node=node,
            method=method,
            upstream=node.part(start, upstream),
            path=node.part(start + len(upstream) + 1, path.strip()),
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ForwardSpec(Spec):
    """A pass-through to an upstream. Short form: `upstream /path`."""

    upstream: Node
    path: Node
    headers: Node | None = None
    timeout: Duration | None = None

    @classmethod
    def from_short(cls, node: Node) -> ForwardSpec:
        upstream, path = node.value.split(" ", 1)
        start = len(upstream) + 1
        return cls(node=node, upstream=node.part(0, upstream), path=node.part(start, path.strip()))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RuleSpec(Spec):
    """What to do for an event of a stream."""

    when: Node | None = None
    each: Node | None = None
    set: Node | None = None
    emit: Node | None = None
    rules: tuple[RuleSpec, ...] = ()
    stop: bool = False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StreamSpec(Spec):
    """A stream that is generated without a call."""

    to: Node
    emit: Node
    every: Duration | None = None
    keep_alive: Duration | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PartsSpec(Spec):
    """A stream of a pipeline: with `to` a writer, else a reader, which gives partial responses."""

    from_: Node | None = None
    to: Node | None = None
    merge: Node | None = None
    eof: Literal["error", "ok"] = "error"
    state: Node | None = None
    start: Node | None = None
    rules: tuple[RuleSpec, ...] = ()
    end: tuple[RuleSpec, ...] = ()
    error: tuple[RuleSpec, ...] = ()
    complete: Node | None = None
    keep_alive: Duration | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CaseSpec(Spec):
    """One response of a route; `status` is a number or an expression."""

    when: Node | None = None
    status: Node | int = 200
    headers: Node | None = None
    body: Node | None = None
    stream: StreamSpec | None = None
    stream_when: Node | None = None
    pipeline: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AttemptSpec(Spec):
    """One way to respond: by one or several calls, by a pass-through, or from `respond` alone.

    A route without `try` is read as one attempt too.
    """

    when: Node | None = None
    call: tuple[CallSpec, ...] = ()
    calls: Mapping[str, CallSpec] = field(default_factory=dict)
    forward: ForwardSpec | None = None
    respond: tuple[CaseSpec, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RouteSpec(Spec):
    """A route; its own key is its method and path."""

    summary: str | None = None
    auth: Literal["none"] | None = None
    request: RequestSpec | None = None
    dropped: Literal["report", "reject"] = "report"
    timeout: Duration | None = None
    cache: Duration | None = None
    rate_limit: RateLimitSpec | None = None
    concurrency: Number | None = None
    usage: Node | None = None
    call: tuple[CallSpec, ...] = ()
    calls: Mapping[str, CallSpec] = field(default_factory=dict)
    try_: tuple[AttemptSpec, ...] = ()
    forward: ForwardSpec | None = None
    builtin: Builtin | None = None
    respond: tuple[CaseSpec, ...] = ()

    @property
    def method(self) -> str:
        return str(self.node.path[-1]).partition(" ")[0]

    @property
    def path(self) -> str:
        return str(self.node.path[-1]).partition(" ")[2].strip()

    @property
    def attempts(self) -> tuple[AttemptSpec, ...]:
        """The attempts of `try`, or else the keys of the route itself as the only attempt."""
        if self.try_:
            return self.try_
        own = {"call": self.call, "calls": self.calls, "forward": self.forward, "respond": self.respond}
        return (AttemptSpec(node=self.node, **own),)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MappingSpec(Spec):
    """A mapping. By default, its name is the name of its file without the extension."""

    dragoman: int = 1
    name: str = ""
    description: str | None = None
    public: bool = True
    prefix: Node | None = None
    include: tuple[Node, ...] = ()
    env: Mapping[str, EnvSpec] = field(default_factory=dict)
    vars: Mapping[str, Node] = field(default_factory=dict)
    upstreams: Mapping[str, UpstreamSpec] = field(default_factory=dict)
    auth: Node | None = None
    rate_limit: RateLimitSpec | None = None
    limits: LimitsSpec | None = None
    cors: CorsSpec | None = None
    errors: ErrorsSpec | None = None
    templates: Mapping[str, Node] = field(default_factory=dict)
    streams: Mapping[str, PartsSpec] = field(default_factory=dict)
    routes: Mapping[str, RouteSpec] = field(default_factory=dict)

    @property
    def document(self) -> Document:
        return self.node.document


#: Each class and the definition of the schema whose properties are its fields.
DEFINITIONS: Mapping[type[Spec], str] = {
    MappingSpec: "#",
    EnvSpec: "env",
    UpstreamSpec: "upstream",
    TimeoutSpec: "timeout",
    RetrySpec: "retry",
    HealthSpec: "health",
    BreakerSpec: "breaker",
    TlsSpec: "tls",
    RateLimitSpec: "rate_limit",
    ErrorsSpec: "errors",
    LimitsSpec: "limits",
    CorsSpec: "cors",
    RouteSpec: "route",
    RequestSpec: "request",
    CheckSpec: "check",
    CallSpec: "call",
    ForwardSpec: "forward",
    AttemptSpec: "attempt",
    CaseSpec: "case",
    StreamSpec: "stream",
    PartsSpec: "parts",
    RuleSpec: "rule",
}


def read_parts(node: Node) -> PartsSpec:
    """A stream that is written in place in a pipeline."""
    return read_spec(PartsSpec, node)


def read(document: Document) -> MappingSpec:
    """The spec of a document that is valid by the mapping schema."""
    mapping = read_spec(MappingSpec, document.root)
    return mapping if mapping.name else replace(mapping, name=PurePath(document.file.name).stem)
