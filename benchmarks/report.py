"""Figures as tables: Markdown, which reads well on a terminal too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.measures import MEASURES, Measure
from benchmarks.results import Figures, Goal, goals_of

_OWN = "dragoman"

#: The least of a figure, and how many digits are kept after the point from there on.
_DIGITS = ((100.0, 0), (10.0, 1), (0.0, 2))


def number(value: float) -> str:
    """Three digits that matter, thousands set apart."""
    digits = next((kept for least, kept in _DIGITS if abs(value) >= least), 2)
    return f"{value:,.{digits}f}"


def _cell(figures: Figures, measure: Measure, contender: str) -> str:
    """A median, and of others how many times ours it is."""
    median = figures.median(measure.name, contender)
    if median is None:
        return "–"
    ratio = None if contender == _OWN else figures.ratio(measure.name, contender, _OWN)
    return number(median) + (f" ({number(ratio)}×)" if ratio is not None else "")


def _rows(figures: Figures) -> Iterable[Sequence[str]]:
    yield "", *figures.contenders
    for measure in MEASURES:
        if measure.name in figures.values:
            cells = [_cell(figures, measure, name) for name in figures.contenders]
            yield f"{measure.title}, {measure.unit}", *cells


def _goal(goal: Goal, figures: Figures) -> Sequence[str]:
    value = goal.found(figures)
    wanted = f"{'at least' if goal.is_floor else 'at most'} {goal.limit:g}"
    if value is None:
        return goal.title, wanted, "–", "not measured"
    return goal.title, wanted, number(value), "yes" if goal.holds(value) else "no"


def table(rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with columns set in line; the first row is its head."""
    first, *others = list(rows)
    widths = [max(len(row[column]) for row in (first, *others)) for column in range(len(first))]
    widths = [max(width, 4) for width in widths]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join("| " + " | ".join(_aligned(row, widths)) + " |" for row in (first, rule, *others))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    yield row[0].ljust(widths[0])
    yield from (text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))


def text(figures: Figures) -> str:
    """The whole report."""
    goals = table([("goal", "wanted", "found", "met"), *(_goal(goal, figures) for goal in goals_of(figures))])
    parts = [table(_rows(figures)), goals]
    remarks = [f"{name} was skipped: {reason}" for name, reason in figures.skipped.items()]
    remarks += figures.notes + [f"broken: {fault}" for fault in figures.broken]
    if remarks:
        parts.append("\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(parts)
