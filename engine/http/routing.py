"""The tree of routes: a path and a method → the route that serves them.

Contract: literal text before a parameter before `{name:path}`, segment by segment, and back where that leads
nowhere; the time a search takes does not depend on how many routes there are. A path is split first and its
segments are decoded once, so that an encoded slash is part of a segment. Servers behind this one may read a
path in another way: a match has the routes of all other readings, so that none of them is passed by. A path
that no route serves is an `ExchangeError` once its leaf is asked for. Must not know what a route does: routes
and those who own them are whatever the tree is filled with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote

from engine.errors import ExchangeError
from engine.http.request_target import is_ambiguous, readings, resolved

Owner = TypeVar("Owner")
Route = TypeVar("Route")
Found = TypeVar("Found")


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


@dataclass(frozen=True, slots=True, eq=False)
class Leaf(Generic[Owner, Route]):
    """A route at the end of a path, whose it is, and the names of the parameters on the way."""

    owner: Owner
    route: Route
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match(Generic[Owner, Route]):
    """What a path leads to: a leaf for each method, none where the path is unknown, and the raw values of
    its parameters. `owner` is the one in whose dialect a miss is told.

    `others` are the leaves for the method that other readings of the path lead to."""

    owner: Owner | None
    leaves: Mapping[str, Leaf[Owner, Route]]
    values: tuple[str, ...]
    others: tuple[Leaf[Owner, Route], ...] = ()

    def leaf(self, method: str) -> Leaf[Owner, Route]:
        """The leaf for a method; HEAD is served by GET.

        Raises:
            ExchangeError: `not_found`, or `method_not_allowed` with the methods that are.
        """
        if not self.leaves:
            raise ExchangeError("not_found", "no route serves this path")
        leaf = self.found(method)
        if leaf is None:
            headers = (("allow", ", ".join(self.methods)),)
            raise ExchangeError("method_not_allowed", "this path has no such method", headers=headers)
        return leaf

    def found(self, method: str) -> Leaf[Owner, Route] | None:
        """The leaf for a method, as `leaf`; None where there is none."""
        return _chosen(self.leaves, method)

    def params(self, leaf: Leaf[Owner, Route]) -> dict[str, str]:
        """The path's parameters, decoded.

        Raises:
            ExchangeError: `invalid_request`, where one is not UTF-8.
        """
        return dict(zip(leaf.names, map(_decoded, self.values), strict=True)) if leaf.names else {}

    def raw_params(self, leaf: Leaf[Owner, Route]) -> dict[str, str]:
        """The path's parameters as they came, percent-encoded."""
        return dict(zip(leaf.names, self.values, strict=True)) if leaf.names else {}

    @property
    def methods(self) -> list[str]:
        """The methods this path allows, for `Allow`."""
        return sorted({*self.leaves, *(("HEAD",) if "GET" in self.leaves else ())})


@dataclass(slots=True, eq=False)
class _Branch(Generic[Owner, Route]):
    """A place in the tree: what follows as literal text, as one parameter, or as any number of segments."""

    literals: dict[str, _Branch[Owner, Route]] = field(default_factory=dict)
    parameter: _Branch[Owner, Route] | None = None
    rest: _Branch[Owner, Route] | None = None
    leaves: dict[str, Leaf[Owner, Route]] = field(default_factory=dict)
    owner: Owner | None = None

    def step(self, kind: str, text: str) -> _Branch[Owner, Route]:
        """The branch that a segment leads to, grown where there is none."""
        if kind == "literal":
            return self.literals.setdefault(_once(text), _Branch())
        if kind == "parameter":
            self.parameter = self.parameter or _Branch()
            return self.parameter
        self.rest = self.rest or _Branch()
        return self.rest


class RouteTree(Generic[Owner, Route]):
    """Routes by path segments."""

    def __init__(self) -> None:
        self._root: _Branch[Owner, Route] = _Branch()
        #: What paths without parameters lead to, which nothing comes before, by method: they need no search.
        self._plain: dict[str, dict[str, Match[Owner, Route]]] = {}

    def add(self, owner: Owner, route: Route, method: str, pattern: str) -> Leaf[Owner, Route] | None:
        """Put a route into the tree; returns the leaf it cannot be told from, where there is one."""
        branch, names = self._root, []
        branch.owner = branch.owner or owner
        for kind, text in segments(pattern):
            branch = branch.step(kind, text)
            branch.owner = branch.owner or owner
            if kind != "literal":
                names.append(text)
        other = branch.leaves.get(method)
        if other is None:
            branch.leaves[method] = Leaf(owner, route, tuple(names))
            if not names and "%" not in pattern:
                self._plain.setdefault(pattern, {})[method] = Match(owner, branch.leaves, ())
        return other

    def find(self, path: str, method: str | None = None) -> Match[Owner, Route]:
        """What a raw path (percent-encoded) leads to.

        With a method, the most specific route that has it; where none has, the match tells which there are.
        """
        plain = self._plain.get(path)
        if plain is not None and method is not None and (found := _chosen(plain, method)) is not None:
            return found
        parts = path.removeprefix("/").split("/")
        literals = [_once(part) if "%" in part else part for part in parts]
        search: _Search[Owner, Route] = _Search(parts, literals, method, self._root.owner)
        branch = search.walk(self._root, 0)
        leaves = branch.leaves if branch else search.others
        leaf = _chosen(leaves, method)
        first = leaf or next(iter(leaves.values()), None)
        owner = first.owner if first else search.owner
        others = () if leaf is None or not is_ambiguous(path) else tuple(self._others(path, method, leaf))
        return Match(owner, leaves, tuple("/".join(parts[a:b]) for a, b in search.spans), others)

    def _others(
        self, path: str, method: str | None, leaf: Leaf[Owner, Route]
    ) -> Iterator[Leaf[Owner, Route]]:
        """The leaves that other readings of a path lead to."""
        for read in readings(path):
            found = resolved(read)
            for parts in (found, [*found, ""]) if read[-1] == "" else (found,):
                search: _Search[Owner, Route] = _Search(parts, parts, method, None)
                branch = search.walk(self._root, 0)
                other = None if branch is None else _chosen(branch.leaves, method)
                if other is not None and other is not leaf:
                    yield other


class _Search(Generic[Owner, Route]):
    """One search in the tree.

    Attributes:
        spans: the parts that parameters took.
        owner: whose the longest part of the path is that is known; in its dialect it is told that the rest
            is not.
        others: the leaves of routes with this path that have not the method.
    """

    __slots__ = ("_depth", "_literals", "_method", "others", "owner", "parts", "spans")

    def __init__(
        self, parts: list[str], literals: list[str], method: str | None, owner: Owner | None
    ) -> None:
        self.parts = parts
        self.spans: list[tuple[int, int]] = []
        self.owner = owner
        self.others: dict[str, Leaf[Owner, Route]] = {}
        self._method = method
        self._depth = 0
        self._literals = literals

    def walk(self, branch: _Branch[Owner, Route], at: int) -> _Branch[Owner, Route] | None:
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

    def _end(self, branch: _Branch[Owner, Route]) -> _Branch[Owner, Route] | None:
        if branch.leaves and (self._method is None or _chosen(branch.leaves, self._method) is not None):
            return branch
        self.others = {**branch.leaves, **self.others}
        return None

    def _rest(self, branch: _Branch[Owner, Route], at: int) -> _Branch[Owner, Route] | None:
        """As many segments as can be with more of a pattern after them, which is more specific; then all."""
        whole = len(self.parts)
        follows = bool(branch.literals) or branch.parameter is not None
        ends = (*range(whole - 1, at, -1), whole) if follows else (whole,)
        found = (self._take(branch, at, end) for end in ends if end > at + 1 or self.parts[at])
        return next(filter(None, found), None)

    def _take(self, branch: _Branch[Owner, Route], at: int, end: int) -> _Branch[Owner, Route] | None:
        self.spans.append((at, end))
        found = self.walk(branch, end)
        if found is None:
            self.spans.pop()
        return found


def _chosen(leaves: Mapping[str, Found], method: str | None) -> Found | None:
    """What there is for a method; HEAD is served by GET."""
    return leaves.get(method or "") or (leaves.get("GET") if method == "HEAD" else None)


def _once(segment: str) -> str:
    """A segment decoded once; what is no UTF-8 stays apart from all that is."""
    return unquote(segment, errors="surrogateescape")


def _decoded(value: str) -> str:
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise ExchangeError("invalid_request", "the path is not UTF-8") from None
