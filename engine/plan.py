"""What a request needs, resolved: mappings as they run.

Contract: made by `engine.compile`, immutable, free of names that would have to be looked up while a request
waits. `RouteTree` finds a route in time that does not depend on how many there are.
Must not know YAML, files or sockets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from engine.auth import BearerKeys, Credentials
from engine.codegen import Compiled
from engine.errors import ExchangeError
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
    tree: RouteTree


@dataclass(frozen=True, slots=True, eq=False)
class PlanSet:
    """All that is served together, by name, and the tree of all its routes."""

    mappings: Mapping[str, MappingPlan]
    tree: RouteTree


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A route at the end of a path, whose it is, and the names of the parameters on the way."""

    mapping: MappingPlan
    route: RoutePlan
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """What a path leads to: a leaf for each method, none where the path is unknown, and the raw values of
    its parameters. `owner` is the mapping in whose dialect a miss is told."""

    owner: MappingPlan | None
    leaves: Mapping[str, Leaf]
    values: tuple[str, ...]

    def leaf(self, method: str) -> Leaf:
        """The leaf for a method; HEAD is served by GET.

        Raises:
            ExchangeError: `not_found`, or `method_not_allowed` with the methods that are.
        """
        if not self.leaves:
            raise ExchangeError("not_found", "no route serves this path")
        leaf = self.leaves.get(method) or (self.leaves.get("GET") if method == "HEAD" else None)
        if leaf is None:
            headers = (("allow", ", ".join(self.methods)),)
            raise ExchangeError("method_not_allowed", "this path has no such method", headers=headers)
        return leaf

    def params(self, leaf: Leaf) -> dict[str, str]:
        """The path's parameters, decoded.

        Raises:
            ExchangeError: `invalid_request`, where one is not UTF-8.
        """
        return dict(zip(leaf.names, map(_decoded, self.values), strict=True))

    @property
    def methods(self) -> list[str]:
        """The methods this path allows, for `Allow`."""
        return sorted({*self.leaves, *(("HEAD",) if "GET" in self.leaves else ())})


@dataclass(slots=True, eq=False)
class _Branch:
    """A place in the tree: what follows as literal text, as one parameter, or as any number of segments."""

    literals: dict[str, _Branch] = field(default_factory=dict)
    parameter: _Branch | None = None
    rest: _Branch | None = None
    leaves: dict[str, Leaf] = field(default_factory=dict)
    owner: MappingPlan | None = None


def segments(pattern: str) -> list[tuple[str, str]]:
    """A route's path as `(kind, text)` pairs; the kinds are "literal", "parameter" and "rest"."""
    found = []
    for segment in pattern.removeprefix("/").split("/"):
        if segment.startswith("{") and segment.endswith("}"):
            name, _, kind = segment[1:-1].partition(":")
            found.append(("rest" if kind == "path" else "parameter", name))
        else:
            found.append(("literal", segment))
    return found


class RouteTree:
    """Routes by path segments: literal before parameter before rest, and back where that leads nowhere."""

    def __init__(self) -> None:
        self._root = _Branch()

    def add(self, mapping: MappingPlan, route: RoutePlan, pattern: str) -> Leaf | None:
        """Put a route into the tree; returns the leaf it cannot be told from, where there is one."""
        branch, names = self._root, []
        branch.owner = branch.owner or mapping
        for kind, text in segments(pattern):
            branch = self._step(branch, kind, text)
            branch.owner = branch.owner or mapping
            if kind != "literal":
                names.append(text)
        other = branch.leaves.get(route.method)
        if other is None:
            branch.leaves[route.method] = Leaf(mapping, route, tuple(names))
        return other

    def _step(self, branch: _Branch, kind: str, text: str) -> _Branch:
        if kind == "literal":
            return branch.literals.setdefault(text, _Branch())
        if kind == "parameter":
            branch.parameter = branch.parameter or _Branch()
            return branch.parameter
        branch.rest = branch.rest or _Branch()
        return branch.rest

    def find(self, path: str) -> Match:
        """What a raw path (percent-encoded) leads to."""
        values: list[str] = []
        owner = _Owner(self._root.owner)
        branch = self._walk(self._root, path.removeprefix("/").split("/"), 0, values, owner)
        if branch is None:
            return Match(owner.mapping, {}, ())
        return Match(branch.owner, branch.leaves, tuple(values))

    def _walk(
        self, branch: _Branch, parts: list[str], at: int, values: list[str], owner: _Owner
    ) -> _Branch | None:
        owner.reached(at, branch.owner)
        if at == len(parts):
            return branch if branch.leaves else None
        following = branch.literals.get(parts[at])
        found = self._walk(following, parts, at + 1, values, owner) if following else None
        if found is None and branch.parameter is not None and parts[at]:
            values.append(parts[at])
            found = self._walk(branch.parameter, parts, at + 1, values, owner)
            if found is None:
                values.pop()
        if found is None and branch.rest is not None:
            found = self._walk_rest(branch.rest, parts, at, values, owner)
        return found

    def _walk_rest(
        self, branch: _Branch, parts: list[str], at: int, values: list[str], owner: _Owner
    ) -> _Branch | None:
        """As many segments as there are, fewer where a literal end has to follow."""
        shortest = len(parts) if not branch.literals and branch.parameter is None else at + 1
        for end in range(len(parts), shortest - 1, -1):
            value = "/".join(parts[at:end])
            if value:
                values.append(value)
                found = self._walk(branch, parts, end, values, owner)
                if found is not None:
                    return found
                values.pop()
        return None


@dataclass(slots=True)
class _Owner:
    """The mapping whose dialect tells that a path is unknown: the one that owns the longest known part."""

    mapping: MappingPlan | None
    depth: int = 0

    def reached(self, depth: int, mapping: MappingPlan | None) -> None:
        if depth > self.depth and mapping is not None:
            self.depth, self.mapping = depth, mapping


def _decoded(value: str) -> str:
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise ExchangeError("invalid_request", "the path is not UTF-8") from None


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
