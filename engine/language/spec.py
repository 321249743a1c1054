"""Mappings as frozen data: the keys of the YAML, not yet interpreted.

Contract: built from a document that is valid by the schema; each field is a key of the YAML and each class
a definition of the schema (a test compares them). A value that can contain an expression remains a `Node`.
Must not know how anything runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from engine.locations import Document, Node

DEFAULT_ATTEMPTS: Final = 2
DEFAULT_PARALLEL: Final = 8
DEFAULT_FAILURES: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class EnvSpec:
    """An environment variable: its location and its options."""

    node: Node
    default: str | None = None
    required: bool = False
    secret: bool = False
    description: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class UpstreamSpec:
    """A server that routes may call; all of it is evaluated at load."""

    node: Node
    url: Node
    timeout: Node | None
    headers: Node | None
    auth: Node | None
    retry: RetrySpec | None
    health: HealthSpec | None
    breaker: BreakerSpec | None
    connections: int | None
    tls: Node | None
    http2: bool
    proxy: Node | None


@dataclass(frozen=True, slots=True, eq=False)
class RetrySpec:
    """When to retry a call; `on` has names of failures and statuses."""

    node: Node
    attempts: int
    on: tuple[str | int, ...] | None
    wait: Node | None


@dataclass(frozen=True, slots=True, eq=False)
class HealthSpec:
    """The health check of an upstream; its short form is read into the same fields."""

    node: Node
    method: str
    path: Node
    timeout: Node | None = None
    keep: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BreakerSpec:
    """The circuit breaker of an upstream; its short form, a number, is read into the same fields."""

    node: Node
    failures: int
    open: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ErrorsSpec:
    """The error format."""

    node: Node
    status: Node | None
    headers: Node | None
    body: Node | None


@dataclass(frozen=True, slots=True, eq=False)
class CorsSpec:
    """Which pages of other origins may call (CORS)."""

    node: Node
    origins: Node
    headers: tuple[str, ...]
    expose: tuple[str, ...]
    credentials: bool
    max_age: Node | None


@dataclass(frozen=True, slots=True, eq=False)
class LimitsSpec:
    """The limits of one exchange; None means the default."""

    node: Node
    steps: int | None
    bytes: int | None


@dataclass(frozen=True, slots=True, eq=False)
class RequestSpec:
    """The checks of a route on its requests."""

    node: Node
    schema: Node | None
    max_bytes: int | None


@dataclass(frozen=True, slots=True, eq=False)
class CallSpec:
    """A call; its short form is read into the same fields."""

    node: Node
    upstream: Node
    method: str | None
    path: Node
    when: Node | None = None
    query: Node | None = None
    headers: Node | None = None
    body: Node | None = None
    form: Node | None = None
    timeout: Node | None = None
    response_schema: Node | None = None
    on_error: str = "fail"
    each: Node | None = None
    parallel: int = DEFAULT_PARALLEL
    cache: Node | None = None
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ForwardSpec:
    """A pass-through to an upstream; its short form is read into the same fields."""

    node: Node
    upstream: Node
    path: Node
    headers: Node | None = None
    timeout: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AttemptSpec:
    """One way to respond: by one or several calls, by a pass-through, or from `respond` alone.

    A route without `try` is read as one attempt too.
    """

    node: Node
    when: Node | None
    call: tuple[CallSpec, ...]
    calls: Mapping[str, CallSpec]
    forward: ForwardSpec | None
    respond: tuple[CaseSpec, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RuleSpec:
    """What to do for an event of a stream."""

    node: Node
    when: Node | None
    each: Node | None
    set: Node | None
    emit: Node | None
    rules: tuple[RuleSpec, ...]
    stop: bool


@dataclass(frozen=True, slots=True, eq=False)
class StreamSpec:
    """A streaming response; `from_` is the key `from`."""

    node: Node
    from_: Node | None
    to: Node
    state: Node | None
    rules: tuple[RuleSpec, ...]
    end: tuple[RuleSpec, ...]
    error: tuple[RuleSpec, ...]
    emit: Node | None
    every: Node | None
    keep_alive: Node | None


@dataclass(frozen=True, slots=True, eq=False)
class CollectSpec:
    """A stream that is collected to its end."""

    node: Node
    from_: Node | None
    state: Node | None
    rules: tuple[RuleSpec, ...]
    end: tuple[RuleSpec, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CaseSpec:
    """One response of a route."""

    node: Node
    when: Node | None
    status: Node | None
    headers: Node | None
    body: Node | None
    stream: StreamSpec | None
    collect: CollectSpec | None


@dataclass(frozen=True, slots=True, eq=False)
class RouteSpec:
    """A route. `method` and `path` are the two parts of its key; `try_` is the key `try`."""

    node: Node
    method: str
    path: str
    summary: str | None
    auth: str | None
    request: RequestSpec | None
    dropped: str
    timeout: Node | None
    cache: Node | None
    rate_limit: Node | None
    concurrency: int | None
    usage: Node | None
    call: tuple[CallSpec, ...]
    calls: Mapping[str, CallSpec]
    try_: tuple[AttemptSpec, ...]
    forward: ForwardSpec | None
    builtin: str | None
    respond: tuple[CaseSpec, ...]

    @property
    def attempts(self) -> tuple[AttemptSpec, ...]:
        """The attempts of `try`, or else the keys of the route itself as the only attempt."""
        return self.try_ or (AttemptSpec(self.node, None, self.call, self.calls, self.forward, self.respond),)


@dataclass(frozen=True, slots=True, eq=False)
class MappingSpec:
    """A mapping. `auth`, `rate_limit` and `prefix` remain nodes because they are evaluated at load."""

    node: Node
    dragoman: int
    name: str
    description: str | None
    prefix: Node | None
    include: tuple[Node, ...]
    env: Mapping[str, EnvSpec]
    vars: Mapping[str, Node]
    upstreams: Mapping[str, UpstreamSpec]
    auth: Node | None
    rate_limit: Node | None
    limits: LimitsSpec | None
    cors: CorsSpec | None
    errors: ErrorsSpec | None
    templates: Mapping[str, Node]
    routes: tuple[RouteSpec, ...]

    @property
    def document(self) -> Document:
        return self.node.document


#: Each class and the definition of the schema whose properties are its fields.
DEFINITIONS: Mapping[type, str] = {
    MappingSpec: "#",
    EnvSpec: "env",
    UpstreamSpec: "upstream",
    RetrySpec: "retry",
    HealthSpec: "health",
    BreakerSpec: "breaker",
    ErrorsSpec: "errors",
    LimitsSpec: "limits",
    CorsSpec: "cors",
    RouteSpec: "route",
    RequestSpec: "request",
    CallSpec: "call",
    ForwardSpec: "forward",
    AttemptSpec: "attempt",
    CaseSpec: "case",
    StreamSpec: "stream",
    CollectSpec: "collect",
    RuleSpec: "rule",
}


def read(document: Document) -> MappingSpec:
    """The spec of a document that is valid by the mapping schema."""
    root = document.root
    cors, errors, limits = root.get("cors"), root.get("errors"), root.get("limits")
    return MappingSpec(
        node=root,
        dragoman=_value(root, "dragoman", 1),
        name=_value(root, "name", default_name(document.file.name)),
        description=_value(root, "description"),
        prefix=root.get("prefix"),
        include=tuple(_elements(root, "include")),
        env={name: _env(node) for name, node in _entries(root, "env").items()},
        vars=_entries(root, "vars"),
        upstreams={name: _upstream(node) for name, node in _entries(root, "upstreams").items()},
        auth=root.get("auth"),
        rate_limit=root.get("rate_limit"),
        limits=_limits(limits) if limits else None,
        cors=_cors(cors) if cors else None,
        errors=_errors(errors) if errors else None,
        templates=_entries(root, "templates"),
        routes=tuple(_route(key, node) for key, node in _entries(root, "routes").items()),
    )


def default_name(file_name: str) -> str:
    """The default name of a mapping: the file name without its extension."""
    return PurePath(file_name).stem


def _env(node: Node) -> EnvSpec:
    default = _value(node, "default")
    return EnvSpec(
        node=node,
        default=None if default is None else _env_text(default),
        required=_value(node, "required", False),
        secret=_value(node, "secret", False),
        description=_value(node, "description"),
    )


def _env_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _upstream(node: Node) -> UpstreamSpec:
    retry, health, breaker = node.get("retry"), node.get("health"), node.get("breaker")
    return UpstreamSpec(
        node=node,
        url=node["url"],
        timeout=node.get("timeout"),
        headers=node.get("headers"),
        auth=node.get("auth"),
        retry=_retry(retry) if retry else None,
        health=_health(health) if health else None,
        breaker=_breaker(breaker) if breaker else None,
        connections=_value(node, "connections"),
        tls=node.get("tls"),
        http2=_value(node, "http2", False),
        proxy=node.get("proxy"),
    )


def _retry(node: Node) -> RetrySpec:
    on = _value(node, "on")
    return RetrySpec(
        node, _value(node, "attempts", DEFAULT_ATTEMPTS), tuple(on) if on else None, node.get("wait")
    )


def _health(node: Node) -> HealthSpec:
    if isinstance(node.value, str):
        method, path = node.value.split(" ", 1)
        return HealthSpec(node, method, node.part(len(method) + 1, path))
    method = _value(node, "method", "GET")
    return HealthSpec(node, method, node["path"], node.get("timeout"), node.get("keep"))


def _breaker(node: Node) -> BreakerSpec:
    if isinstance(node.value, int):
        return BreakerSpec(node, node.value)
    return BreakerSpec(node, _value(node, "failures", DEFAULT_FAILURES), node.get("open"))


def _errors(node: Node) -> ErrorsSpec:
    return ErrorsSpec(node, node.get("status"), node.get("headers"), node.get("body"))


def _cors(node: Node) -> CorsSpec:
    return CorsSpec(
        node=node,
        origins=node["origins"],
        headers=tuple(_value(node, "headers", ())),
        expose=tuple(_value(node, "expose", ())),
        credentials=_value(node, "credentials", False),
        max_age=node.get("max_age"),
    )


def _limits(node: Node) -> LimitsSpec:
    return LimitsSpec(node, _value(node, "steps"), _value(node, "bytes"))


def _route(key: str, node: Node) -> RouteSpec:
    method, _, path = key.partition(" ")
    request = node.get("request")
    only = _attempt(node)
    return RouteSpec(
        node=node,
        method=method,
        path=path.strip(),
        summary=_value(node, "summary"),
        auth=_value(node, "auth"),
        request=RequestSpec(request, request.get("schema"), _value(request, "max_bytes"))
        if request
        else None,
        dropped=_value(node, "dropped", "report"),
        timeout=node.get("timeout"),
        cache=node.get("cache"),
        rate_limit=node.get("rate_limit"),
        concurrency=_value(node, "concurrency"),
        usage=node.get("usage"),
        call=only.call,
        calls=only.calls,
        try_=tuple(map(_attempt, _elements(node, "try"))),
        forward=only.forward,
        builtin=_value(node, "builtin"),
        respond=only.respond,
    )


def _attempt(node: Node) -> AttemptSpec:
    forward = node.get("forward")
    return AttemptSpec(
        node=node,
        when=node.get("when"),
        call=tuple(map(_call, _one_or_list(node.get("call")))),
        calls={name: _call(child) for name, child in _entries(node, "calls").items()},
        forward=_forward(forward) if forward else None,
        respond=tuple(map(_case, _one_or_list(node.get("respond")))),
    )


def _forward(node: Node) -> ForwardSpec:
    if isinstance(node.value, str):
        upstream, path = node.value.split(" ", 1)
        return ForwardSpec(node, node.part(0, upstream), node.part(len(upstream) + 1, path.strip()))
    return ForwardSpec(node, node["upstream"], node["path"], node.get("headers"), node.get("timeout"))


def _one_or_list(node: Node | None) -> Iterable[Node]:
    if node is None:
        return ()
    return node.elements() if isinstance(node.value, list) else (node,)


def _call(node: Node) -> CallSpec:
    if isinstance(node.value, str):
        method, rest = node.value.split(" ", 1)
        upstream = rest.split(" ", 1)[0]
        start = len(method) + 1
        path_start = start + len(upstream) + 1
        return CallSpec(
            node=node,
            upstream=node.part(start, upstream),
            method=method,
            path=node.part(path_start, node.value[path_start:].strip()),
        )
    return CallSpec(
        node=node,
        upstream=node["upstream"],
        method=_value(node, "method"),
        path=node["path"],
        when=node.get("when"),
        query=node.get("query"),
        headers=node.get("headers"),
        body=node.get("body"),
        form=node.get("form"),
        timeout=node.get("timeout"),
        response_schema=node.get("response_schema"),
        on_error=_value(node, "on_error", "fail"),
        each=node.get("each"),
        parallel=_value(node, "parallel", DEFAULT_PARALLEL),
        cache=node.get("cache"),
        max_bytes=_value(node, "max_bytes"),
    )


def _case(node: Node) -> CaseSpec:
    stream, collect = node.get("stream"), node.get("collect")
    return CaseSpec(
        node=node,
        when=node.get("when"),
        status=node.get("status"),
        headers=node.get("headers"),
        body=node.get("body"),
        stream=_stream(stream) if stream else None,
        collect=_collect(collect) if collect else None,
    )


def _stream(node: Node) -> StreamSpec:
    return StreamSpec(
        node=node,
        from_=node.get("from"),
        to=node["to"],
        state=node.get("state"),
        rules=_rules(node, "rules"),
        end=_rules(node, "end"),
        error=_rules(node, "error"),
        emit=node.get("emit"),
        every=node.get("every"),
        keep_alive=node.get("keep_alive"),
    )


def _collect(node: Node) -> CollectSpec:
    return CollectSpec(
        node=node,
        from_=node.get("from"),
        state=node.get("state"),
        rules=_rules(node, "rules"),
        end=_rules(node, "end"),
    )


def _rules(node: Node, key: str) -> tuple[RuleSpec, ...]:
    return tuple(map(_rule, _elements(node, key)))


def _rule(node: Node) -> RuleSpec:
    return RuleSpec(
        node=node,
        when=node.get("when"),
        each=node.get("each"),
        set=node.get("set"),
        emit=node.get("emit"),
        rules=_rules(node, "rules"),
        stop=_value(node, "stop", False),
    )


def _value(node: Node, key: str, default: Any = None) -> Any:
    return node.value.get(key, default) if isinstance(node.value, dict) else default


def _entries(node: Node, key: str) -> dict[str, Node]:
    child = node.get(key)
    return dict(child.items()) if child else {}


def _elements(node: Node, key: str) -> list[Node]:
    child = node.get(key)
    return list(child.elements()) if child else []
