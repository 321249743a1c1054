"""Coverage: which routes, answers and branches of templates the cases of a run have reached.

Contract: counts add up by place, over the environments of a suite and over suites of the same mapping; a
place that lies inside one that was not reached is not told of. Must not know how a case runs.
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
    "rule": "this rule of a stream",
}


@dataclass(frozen=True, slots=True)
class Uncovered:
    """A place of a mapping that no case has reached."""

    what: str
    span: Span


@dataclass(slots=True)
class _Place:
    node: Node
    span: Span
    is_complete: bool
    count: int = 0


@dataclass(slots=True)
class RunCoverage:
    """The places of the mappings of a run, each with how often it was reached."""

    _places: dict[tuple[str, tuple[str | int, ...], str], _Place] = field(default_factory=dict)

    def watch(self, plans: PlanSet) -> None:
        """Count the routes of plans, and their answers."""
        for mapping in plans.mappings.values():
            for route in mapping.routes:
                self._add(route.spec.node, _route(route), 0)
                for number, case in enumerate(_answers(route)):
                    self._add(case.node, _answer(route, number), 0)

    def note(self, result: ExchangeResult) -> None:
        """Count what an exchange has reached."""
        route, case = result.route, result.exchange.case
        if route is not None:
            self._add(route.spec.node, _route(route), 1)
        if route is not None and case is not None:
            self._add(_answers(route)[case].node, _answer(route, case), 1)

    def take(self, branches: Coverage) -> None:
        """Take over what has been counted in templates."""
        for (node, label), count in zip(branches.branches, branches.counts, strict=True):
            self._add(node, _BRANCHES.get(label, f"the {label} of this $switch"), count, is_complete=False)

    def _add(self, node: Node, what: str, count: int, is_complete: bool = True) -> None:
        key = (node.document.file.name, node.path, what)
        self._places.setdefault(key, _Place(node, node.key_span, is_complete)).count += count

    def uncovered(self) -> list[Uncovered]:
        """What no case has reached, in the order of files and lines."""
        missed = {key: place for key, place in self._places.items() if place.count == 0}
        wholes = {(file, path) for (file, path, _), place in missed.items() if place.is_complete}
        found = [
            Uncovered(what, place.span)
            for (file, path, what), place in missed.items()
            if not any((file, outer) in wholes for outer in _around(path))
        ]
        return sorted(found, key=lambda u: (u.span.file.name, u.span.line, u.span.column))


def _around(path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    return (path[:length] for length in range(len(path)))


def _answers(route: RoutePlan) -> list[CaseSpec]:
    return [case for attempt in route.spec.attempts for case in attempt.respond]


def _route(route: RoutePlan) -> str:
    return f"the route {route.spec.method} {route.spec.path}"


def _answer(route: RoutePlan, number: int) -> str:
    which = "the answer" if len(route.cases) == 1 else f"answer {number + 1}"
    return f"{which} of {route.spec.method} {route.spec.path}"
