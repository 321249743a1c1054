"""What a request needs, resolved: mappings as they run.

Contract: made by `engine.compile`, immutable, free of names that would have to be looked up while a request
waits. Must not know YAML, files or sockets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from engine.auth import BearerKeys, Credentials
from engine.codegen import Compiled
from engine.routing import Leaf, Match, RouteTree
from engine.schema import BodySchema
from engine.spec import MappingSpec, RouteSpec


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for an upstream: for the connection, for the next bytes, for the whole answer."""

    connect: float = 5.0
    read: float = 60.0
    total: float = 600.0


@dataclass(frozen=True, slots=True)
class UpstreamPlan:
    """A server that calls go to.

    Attributes:
        name: as the mapping has it.
        origin: `scheme://host:port`, or None for another mapping.
        mapping: the other mapping's name, or None.
        base_path: what stands before the path of every call, without a slash at its end.
    """

    name: str
    origin: str | None
    mapping: str | None
    base_path: str
    headers: tuple[tuple[str, str], ...]
    credentials: Credentials
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class PathPart:
    """A piece of a call's path: literal text, or a template whose value is percent-encoded.

    `keeps_slashes` marks a `{name:path}` parameter, which may span segments.
    """

    text: str
    template: Compiled | None = None
    keeps_slashes: bool = False


@dataclass(frozen=True, slots=True)
class CallPlan:
    """One call. Templates take the client's body as their payload."""

    upstream: UpstreamPlan
    method: str
    path: tuple[PathPart, ...]
    query: Compiled | None
    headers: Compiled | None
    body: Compiled | None
    form: Compiled | None
    timeout: float | None
    response_schema: BodySchema | None


@dataclass(frozen=True, slots=True)
class CasePlan:
    """One possible answer. `for_failures`: it is asked for an upstream's failure too."""

    when: Compiled | None
    for_failures: bool
    status: int | Compiled
    headers: Compiled | None
    body: Compiled | None


@dataclass(frozen=True, slots=True)
class ErrorsPlan:
    """A dialect of failures."""

    status: int | Compiled | None = None
    headers: Compiled | None = None
    body: Compiled | None = None


@dataclass(frozen=True, slots=True)
class CorsPlan:
    """Which pages of other origins may call; `max_age` in seconds."""

    origins: tuple[str, ...]
    headers: tuple[str, ...]
    expose: tuple[str, ...]
    credentials: bool
    max_age: int


#: Which fields of the client's body a route reads: name → the same below it, `*` for any item of a list;
#: True where all of it is read.
ReadTree = bool | dict[str | int, Any]


@dataclass(frozen=True, slots=True, eq=False)
class RoutePlan:
    """A route as it runs. `pattern` is its path with the mapping's prefix."""

    spec: RouteSpec
    method: str
    pattern: str
    wants_key: bool
    max_bytes: int
    schema: BodySchema | None
    reads: ReadTree
    reads_body: bool
    reads_reply: bool
    rejects_dropped: bool
    timeout: float | None
    call: CallPlan | None
    cases: tuple[CasePlan, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MappingPlan:
    """A mapping as it runs.

    Attributes:
        keys: what clients may present; empty where none is wanted.
        is_open: the mapping says `auth: none`.
        tree: its routes without the prefix, as other mappings in the process reach them.
    """

    spec: MappingSpec
    name: str
    prefix: str
    keys: BearerKeys
    is_open: bool
    cors: CorsPlan | None
    errors: ErrorsPlan
    upstreams: Mapping[str, UpstreamPlan]
    routes: tuple[RoutePlan, ...]
    tree: PlanTree


#: Routes of mappings as a tree; what a path leads to in it; and one route there.
PlanTree: TypeAlias = RouteTree[MappingPlan, RoutePlan]
PlanMatch: TypeAlias = Match[MappingPlan, RoutePlan]
PlanLeaf: TypeAlias = Leaf[MappingPlan, RoutePlan]


@dataclass(frozen=True, slots=True, eq=False)
class PlanSet:
    """All that is served together, by name, and the tree of all its routes."""

    mappings: Mapping[str, MappingPlan]
    tree: PlanTree


def templates_of(route: RoutePlan) -> Iterator[tuple[str, Compiled]]:
    """The generated functions of a route, each with a label."""
    if route.call is not None:
        yield from _labelled("call.path", *(part.template for part in route.call.path))
        for name in ("query", "headers", "body", "form"):
            yield from _labelled(f"call.{name}", getattr(route.call, name))
    for number, case in enumerate(route.cases):
        label = "respond" if len(route.cases) == 1 else f"respond[{number}]"
        for name in ("when", "status", "headers", "body"):
            yield from _labelled(f"{label}.{name}", getattr(case, name))


def _labelled(label: str, *templates: Any) -> Iterator[tuple[str, Compiled]]:
    return ((label, template) for template in templates if isinstance(template, Compiled))
