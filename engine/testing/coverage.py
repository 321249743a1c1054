"""Coverage: the routes, responses and template branches that the cases of a run have reached.

Contract: counts are summed by location, over the environments of a suite and over suites of the same mapping.
A location inside an uncovered one is not reported. Must not know how a case runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from engine.exchange import ExchangeResult
from engine.language.spec import CaseSpec
from engine.language.templates import Coverage
from engine.locations import Node, Span
from engine.plan import PlanSet, RoutePlan

_BRANCHES: Final = {
    "then": "the branch where this $if is true",
    "else": "the branch where this $if is false",
    "default": "the default of this $switch",
    "rule": "this stream rule",
    "check": "a request that this check refuses",
}


@dataclass(frozen=True, slots=True)
class Uncovered:
    """A location of a mapping that no case has reached."""

    what: str
    span: Span


@dataclass(slots=True)
class _Location:
    node: Node
    span: Span
    is_complete: bool
    count: int = 0


@dataclass(slots=True)
class RunCoverage:
    """The locations of the mappings of a run, each with the number of times it was reached."""

    _locations: dict[tuple[str, tuple[str | int, ...], str], _Location] = field(default_factory=dict)

    def watch(self, plans: PlanSet) -> None:
        """Track the routes of plans, and their responses."""
        for mapping in plans.mappings.values():
            for route in mapping.routes:
                self._add(route.spec.node, _route_label(route), 0)
                for number, case in enumerate(_responses(route)):
                    self._add(case.node, _response_label(route, number), 0)

    def record(self, result: ExchangeResult) -> None:
        """Count the route and the response of an exchange."""
        route, case = result.route, result.exchange.case
        if route is not None:
            self._add(route.spec.node, _route_label(route), 1)
        if route is not None and case is not None:
            self._add(_responses(route)[case].node, _response_label(route, case), 1)

    def add_branches(self, branches: Coverage) -> None:
        """Add the counts of template branches."""
        for (node, label), count in zip(branches.branches, branches.counts, strict=True):
            self._add(node, _BRANCHES.get(label, f"the {label} of this $switch"), count, is_complete=False)

    def _add(self, node: Node, what: str, count: int, is_complete: bool = True) -> None:
        key = (node.document.file.name, node.path, what)
        self._locations.setdefault(key, _Location(node, node.key_span, is_complete)).count += count

    def uncovered(self) -> list[Uncovered]:
        """The locations that no case has reached, ordered by file and line."""
        missed = {key: location for key, location in self._locations.items() if location.count == 0}
        wholes = {(file, path) for (file, path, _), location in missed.items() if location.is_complete}
        found = [
            Uncovered(what, location.span)
            for (file, path, what), location in missed.items()
            if not any((file, outer) in wholes for outer in _around(path))
        ]
        return sorted(found, key=lambda u: (u.span.file.name, u.span.line, u.span.column))


def _around(path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    return (path[:length] for length in range(len(path)))


def _responses(route: RoutePlan) -> list[CaseSpec]:
    return [case for attempt in route.spec.attempts for case in attempt.respond]


def _route_label(route: RoutePlan) -> str:
    return f"the route {route.spec.method} {route.spec.path}"


def _response_label(route: RoutePlan, number: int) -> str:
    which = "the response" if len(route.cases) == 1 else f"response {number + 1}"
    return f"{which} of {route.spec.method} {route.spec.path}"
