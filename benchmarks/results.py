"""The results of a run, and the goals for them.

Contract: the results of each round are stored; medians and ratios are computed on demand. A ratio is the
median of the ratios of the rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

#: The results of the rounds, by measure and contender.
Values = dict[str, dict[str, list[float]]]


@dataclass(slots=True)
class Results:
    """The results of a run; the names of the attributes are the keys of its JSON file.

    Attributes:
        skipped: the contenders that are not installed, each with the reason.
        broken: the errors of contenders.
        notes: remarks on single results.
        about: the machine, the versions of the measured software, and the size of the run.
    """

    values: Values = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def add(self, measure: str, contender: str, value: float) -> None:
        self.values.setdefault(measure, {}).setdefault(contender, []).append(value)

    def rounds(self, measure: str, contender: str) -> list[float]:
        return self.values.get(measure, {}).get(contender, [])

    def median(self, measure: str, contender: str) -> float | None:
        rounds = self.rounds(measure, contender)
        return statistics.median(rounds) if rounds else None

    def ratio(self, measure: str, contender: str, other: str) -> float | None:
        """The median ratio of a contender's results to another's; None if either has no results."""
        pairs = zip(self.rounds(measure, contender), self.rounds(measure, other), strict=False)
        ratios = [own / others for own, others in pairs if others > 0]
        return statistics.median(ratios) if ratios else None

    @property
    def contenders(self) -> list[str]:
        """The contenders with results, in the order of their first result."""
        return list(dict.fromkeys(name for found in self.values.values() for name in found))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit for a result, or for the ratio of two results."""

    title: str
    limit: float
    value: Callable[[Results], float | None]
    is_floor: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.is_floor else value <= self.limit


def _ratio(measure: str, other: str) -> Callable[[Results], float | None]:
    return lambda results: results.ratio(measure, "dragoman", other)


def _median(measure: str) -> Callable[[Results], float | None]:
    return lambda results: results.median(measure, "dragoman")


GOALS = (
    Goal("models: requests/s relative to nginx with njs", 0.8, _ratio("models", "nginx"), True),
    Goal("chat: requests/s relative to LiteLLM", 40, _ratio("chat", "litellm"), True),
    Goal("streaming: chunks/s relative to LiteLLM", 100, _ratio("chunks", "litellm"), True),
    Goal("streaming: chunks/s relative to Starlette and httpx", 8, _ratio("chunks", "starlette"), True),
    Goal("added chunk latency relative to handwritten code", 1.5, _ratio("added", "by-hand")),
    Goal("memory when idle, MB", 60, _median("idle")),
    Goal("startup to first response, s", 0.6, _median("start")),
    Goal("time with 1,000 routes, relative to 10", 1.05, _median("routes")),
    Goal("memory per idle stream, kB", 30, _median("held")),
)

#: The goals of a run that compares with another checkout.
AGAINST_GOALS = (
    Goal("models: CPU relative to the other checkout", 1.05, _ratio("models-cpu", "against")),
    Goal("chat: CPU relative to the other checkout", 1.05, _ratio("chat-cpu", "against")),
    Goal("chunk: CPU relative to the other checkout", 1.05, _ratio("chunk-cpu", "against")),
)


def goals_of(results: Results) -> tuple[Goal, ...]:
    """The goals that apply to a run."""
    return AGAINST_GOALS if "against" in results.contenders else GOALS
