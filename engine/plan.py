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
        leaf = _chosen(self.leaves, method)
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
            return branch.literals.setdefault(unquote(text), _Branch())
        if kind == "parameter":
            branch.parameter = branch.parameter or _Branch()
            return branch.parameter
        branch.rest = branch.rest or _Branch()
        return branch.rest

    def find(self, path: str, method: str | None = None) -> Match:
        """What a raw path (percent-encoded) leads to.

        With a method, the most specific route that has it; where none has, the match tells which there are.
        """
        search = _Search(path.removeprefix("/").split("/"), method, self._root.owner)
        branch = search.walk(self._root, 0)
        leaves = branch.leaves if branch else search.others
        leaf = _chosen(leaves, method) or next(iter(leaves.values()), None)
        owner = leaf.mapping if leaf else search.owner
        return Match(owner, leaves, tuple("/".join(search.parts[a:b]) for a, b in search.spans))


class _Search:
    """One search in the tree.

    Attributes:
        spans: the parts that parameters took.
        owner: the mapping of the longest part of the path that is known, in whose dialect it is told that the
            rest is not.
        others: the leaves of routes with this path that have not the method.
    """

    __slots__ = ("_depth", "_literals", "_method", "others", "owner", "parts", "spans")

    def __init__(self, parts: list[str], method: str | None, owner: MappingPlan | None) -> None:
        self.parts = parts
        self.spans: list[tuple[int, int]] = []
        self.owner = owner
        self.others: dict[str, Leaf] = {}
        self._method = method
        self._depth = 0
        self._literals = [unquote(part) if "%" in part else part for part in parts]

    def walk(self, branch: _Branch, at: int) -> _Branch | None:
        """The branch with leaves that the parts from `at` on lead to."""
        if at > self._depth:
            self._depth, self.owner = at, branch.owner
        if at == len(self.parts):
            return self._end(branch)
        following = branch.literals.get(self._literals[at])
        found = self.walk(following, at + 1) if following else None
        if found is None and branch.parameter is not None and self.parts[at]:
            found = self._take(branch.parameter, at, at + 1)
        if found is None and branch.rest is not None:
            found = self._rest(branch.rest, at)
        return found

    def _end(self, branch: _Branch) -> _Branch | None:
        if branch.leaves and (self._method is None or _chosen(branch.leaves, self._method)):
            return branch
        self.others = {**branch.leaves, **self.others}
        return None

    def _rest(self, branch: _Branch, at: int) -> _Branch | None:
        """As many segments as can be with more of a pattern after them, which is more specific; then all."""
        whole = len(self.parts)
        follows = bool(branch.literals) or branch.parameter is not None
        ends = (*range(whole - 1, at, -1), whole) if follows else (whole,)
        found = (self._take(branch, at, end) for end in ends if end > at + 1 or self.parts[at])
        return next(filter(None, found), None)

    def _take(self, branch: _Branch, at: int, end: int) -> _Branch | None:
        self.spans.append((at, end))
        found = self.walk(branch, end)
        if found is None:
            self.spans.pop()
        return found


def _chosen(leaves: Mapping[str, Leaf], method: str | None) -> Leaf | None:
    """The leaf of a method; HEAD is served by GET."""
    return leaves.get(method or "") or (leaves.get("GET") if method == "HEAD" else None)


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
