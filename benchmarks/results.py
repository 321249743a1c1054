"""The figures of a run, and what is asked of them.

Contract: raw figures are kept, round by round; medians and ratios are made when they are wanted. A ratio is
the median of what each round gave.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

#: Figures of each round, by measure and contender.
Values = dict[str, dict[str, list[float]]]


@dataclass(slots=True)
class Figures:
    """What a run found.

    Attributes:
        skipped: contenders that could not be started, with the reason.
        broken: what went wrong.
        notes: what a reader should know of single figures.
        about: the machine and the versions of what was measured.
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
        """How many times the other's figure; None where one has none."""
        pairs = zip(self.rounds(measure, contender), self.rounds(measure, other), strict=False)
        ratios = [own / others for own, others in pairs if others > 0]
        return statistics.median(ratios) if ratios else None

    @property
    def contenders(self) -> list[str]:
        """Those with figures, in the order they came."""
        return list(dict.fromkeys(name for found in self.values.values() for name in found))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a figure, or on a ratio of two."""

    title: str
    limit: float
    found: Callable[[Figures], float | None]
    is_floor: bool = False

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.is_floor else value <= self.limit


def _ratio(measure: str, other: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.ratio(measure, "dragoman", other)


def _median(measure: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.median(measure, "dragoman")


GOALS = (
    Goal("models: times nginx with njs", 0.8, _ratio("models", "nginx"), True),
    Goal("chat: times LiteLLM", 40, _ratio("chat", "litellm"), True),
    Goal("chunks: times LiteLLM", 100, _ratio("chunks", "litellm"), True),
    Goal("chunks: times Starlette and httpx", 8, _ratio("chunks", "starlette"), True),
    Goal("added to a paced chunk: times the code by hand", 1.5, _ratio("added", "by-hand")),
    Goal("memory when idle, MB", 60, _median("idle")),
    Goal("start to first answer, s", 0.6, _median("start")),
    Goal("1,000 routes: times the time of 10", 1.05, _median("routes")),
    Goal("memory of a silent stream, kB", 30, _median("held")),
)

#: The goals of a run that has another checkout among its contenders.
AGAINST_GOALS = (
    Goal("models: times the CPU of the other checkout", 1.05, _ratio("models-cpu", "against")),
    Goal("chat: times the CPU of the other checkout", 1.05, _ratio("chat-cpu", "against")),
    Goal("chunk: times the CPU of the other checkout", 1.05, _ratio("chunk-cpu", "against")),
)


def goals_of(figures: Figures) -> tuple[Goal, ...]:
    """The goals that a run is judged by."""
    return AGAINST_GOALS if "against" in figures.contenders else GOALS
