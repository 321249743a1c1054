"""The route tree: path and method → route.

Contract: at each segment, literal text takes precedence over a parameter, and a parameter over `{name:path}`;
the search backtracks if that finds no route. Its time does not depend on the number of routes. A path is
split first and its segments are decoded once, so that an encoded slash is part of a segment. Upstream servers
may interpret a path differently: a match includes the routes for all other interpretations, so that the
caller can check them. `Match.leaf` raises an `ExchangeError` if no route matches. Must not know what a route
does: routes and their owners are opaque.
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
    """Parse a route's path into `(kind, text)` pairs; the kinds are "literal", "parameter" and "rest"."""
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
    """A route, its owner, and the names of the parameters in its path."""

    owner: Owner
    route: Route
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match(Generic[Owner, Route]):
    """The result of a search.

    Attributes:
        owner: the owner of the route; without a route, the owner whose error format is used.
        leaves: the leaves by method; empty if the path is unknown.
        values: the raw values of the parameters.
        others: the leaves for the method under other interpretations of the path.
    """

    owner: Owner | None
    leaves: Mapping[str, Leaf[Owner, Route]]
    values: tuple[str, ...]
    others: tuple[Leaf[Owner, Route], ...] = ()

    def leaf(self, method: str) -> Leaf[Owner, Route]:
        """The leaf for a method; HEAD is served by GET.

        Raises:
            ExchangeError: `not_found`, or `method_not_allowed` with the allowed methods.
        """
        if not self.leaves:
            raise ExchangeError("not_found", "no route serves this path")
        leaf = self.found(method)
        if leaf is None:
            headers = (("allow", ", ".join(self.methods)),)
            raise ExchangeError("method_not_allowed", "method not allowed for this path", headers=headers)
        return leaf

    def found(self, method: str) -> Leaf[Owner, Route] | None:
        """The leaf for a method, as `leaf`, or None."""
        # As `_for_method`; this runs several times for every request.
        return self.leaves.get(method) or (self.leaves.get("GET") if method == "HEAD" else None)

    def params(self, leaf: Leaf[Owner, Route]) -> dict[str, str]:
        """The path's parameters, decoded.

        Raises:
            ExchangeError: `invalid_request`, if one is not UTF-8.
        """
        return dict(zip(leaf.names, map(_decoded, self.values), strict=True)) if leaf.names else {}

    def raw_params(self, leaf: Leaf[Owner, Route]) -> dict[str, str]:
        """The path's parameters as received, percent-encoded."""
        return dict(zip(leaf.names, self.values, strict=True)) if leaf.names else {}

    @property
    def methods(self) -> list[str]:
        """The allowed methods of this path, for `Allow`."""
        return sorted({*self.leaves, *(("HEAD",) if "GET" in self.leaves else ())})


@dataclass(slots=True, eq=False)
class _Node(Generic[Owner, Route]):
    """A node of the tree, with child nodes for literal text, for a parameter, and for any number of
    segments."""

    literals: dict[str, _Node[Owner, Route]] = field(default_factory=dict)
    parameter: _Node[Owner, Route] | None = None
    rest: _Node[Owner, Route] | None = None
    leaves: dict[str, Leaf[Owner, Route]] = field(default_factory=dict)
    owner: Owner | None = None

    def child(self, kind: str, text: str) -> _Node[Owner, Route]:
        """The child for a segment, created if it does not exist."""
        if kind == "literal":
            return self.literals.setdefault(_decoded_once(text), _Node())
        if kind == "parameter":
            self.parameter = self.parameter or _Node()
            return self.parameter
        self.rest = self.rest or _Node()
        return self.rest


class RouteTree(Generic[Owner, Route]):
    """Routes by path segments."""

    def __init__(self) -> None:
        self._root: _Node[Owner, Route] = _Node()
        #: Matches of paths without parameters, by path and method: nothing precedes them, so no search is
        #: needed.
        self._plain: dict[str, dict[str, Match[Owner, Route]]] = {}

    def add(self, owner: Owner, route: Route, method: str, pattern: str) -> Leaf[Owner, Route] | None:
        """Add a route. If a route with an equivalent path and the same method exists, return its leaf
        instead."""
        node, names = self._root, []
        node.owner = node.owner or owner
        for kind, text in segments(pattern):
            node = node.child(kind, text)
            node.owner = node.owner or owner
            if kind != "literal":
                names.append(text)
        other = node.leaves.get(method)
        if other is None:
            node.leaves[method] = Leaf(owner, route, tuple(names))
            if not names and "%" not in pattern:
                self._plain.setdefault(pattern, {})[method] = Match(owner, node.leaves, ())
        return other

    def find(self, path: str, method: str | None = None) -> Match[Owner, Route]:
        """Find the routes for a raw (percent-encoded) path.

        With a method, finds the most specific route that has it; if none has, the match contains the routes
        for other methods.
        """
        plain = self._plain.get(path)
        if plain is not None and method is not None and (found := _for_method(plain, method)) is not None:
            return found
        parts = path.removeprefix("/").split("/")
        literals = [_decoded_once(part) if "%" in part else part for part in parts]
        search: _Search[Owner, Route] = _Search(parts, literals, method, self._root.owner)
        node = search.walk(self._root, 0)
        leaves = node.leaves if node else search.others
        leaf = _for_method(leaves, method)
        first = leaf or next(iter(leaves.values()), None)
        owner = first.owner if first else search.owner
        others = () if leaf is None or not is_ambiguous(path) else tuple(self._others(path, method, leaf))
        return Match(owner, leaves, tuple("/".join(parts[a:b]) for a, b in search.spans), others)

    def _others(
        self, path: str, method: str | None, leaf: Leaf[Owner, Route]
    ) -> Iterator[Leaf[Owner, Route]]:
        """The leaves for other interpretations of a path."""
        for read in readings(path):
            found = resolved(read)
            for parts in (found, [*found, ""]) if read[-1] == "" else (found,):
                search: _Search[Owner, Route] = _Search(parts, parts, method, None)
                node = search.walk(self._root, 0)
                other = None if node is None else _for_method(node.leaves, method)
                if other is not None and other is not leaf:
                    yield other


class _Search(Generic[Owner, Route]):
    """One search in the tree.

    Attributes:
        spans: the ranges of parts that are values of parameters.
        owner: the owner of the longest known prefix of the path, whose error format is used if no route
            matches.
        others: the leaves of routes with this path that do not have the method.
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

    def walk(self, node: _Node[Owner, Route], at: int) -> _Node[Owner, Route] | None:
        """The node with a matching leaf for the parts from `at` on, or None."""
        if at > self._depth:
            self._depth, self.owner = at, node.owner
        if at == len(self.parts):
            return self._end(node)
        following = node.literals.get(self._literals[at])
        found = self.walk(following, at + 1) if following else None
        if found is None and node.parameter is not None and self.parts[at]:
            found = self._take(node.parameter, at, at + 1)
        if found is None and node.rest is not None:
            found = self._rest(node.rest, at)
        return found

    def _end(self, node: _Node[Owner, Route]) -> _Node[Owner, Route] | None:
        if node.leaves and (self._method is None or _for_method(node.leaves, self._method) is not None):
            return node
        self.others = {**node.leaves, **self.others}
        return None

    def _rest(self, node: _Node[Owner, Route], at: int) -> _Node[Owner, Route] | None:
        """Match as many segments as possible with more of a pattern after them, which is more specific; then
        all segments."""
        whole = len(self.parts)
        follows = bool(node.literals) or node.parameter is not None
        ends = (*range(whole - 1, at, -1), whole) if follows else (whole,)
        found = (self._take(node, at, end) for end in ends if end > at + 1 or self.parts[at])
        return next(filter(None, found), None)

    def _take(self, node: _Node[Owner, Route], at: int, end: int) -> _Node[Owner, Route] | None:
        self.spans.append((at, end))
        found = self.walk(node, end)
        if found is None:
            self.spans.pop()
        return found


def _for_method(leaves: Mapping[str, Found], method: str | None) -> Found | None:
    """The entry for a method; HEAD is served by GET."""
    return leaves.get(method or "") or (leaves.get("GET") if method == "HEAD" else None)


def _decoded_once(segment: str) -> str:
    """A segment decoded once; invalid UTF-8 decodes to surrogates, which equal no valid text."""
    return unquote(segment, errors="surrogateescape")


def _decoded(value: str) -> str:
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise ExchangeError("invalid_request", "the path is not UTF-8") from None
