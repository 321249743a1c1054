"""Results as tables, in Markdown that is also readable on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.measures import MEASURES, Measure
from benchmarks.results import Goal, Results, goals_of

_OWN = "dragoman"

#: The number of decimals of values from a minimum on.
_DECIMALS = ((100.0, 0), (10.0, 1), (0.0, 2))


def number(value: float) -> str:
    """A value with three significant digits and a thousands separator."""
    decimals = next((decimals for least, decimals in _DECIMALS if abs(value) >= least), 2)
    return f"{value:,.{decimals}f}"


def _cell(results: Results, measure: Measure, contender: str) -> str:
    """The median, and for other contenders its ratio to ours."""
    median = results.median(measure.name, contender)
    if median is None:
        return "–"
    ratio = None if contender == _OWN else results.ratio(measure.name, contender, _OWN)
    return number(median) + (f" ({number(ratio)}×)" if ratio is not None else "")


def _rows(results: Results) -> Iterable[Sequence[str]]:
    yield "", *results.contenders
    for measure in MEASURES:
        if measure.name in results.values:
            cells = [_cell(results, measure, name) for name in results.contenders]
            yield f"{measure.title}, {measure.unit}", *cells


def _goal(goal: Goal, results: Results) -> Sequence[str]:
    value = goal.value(results)
    target = f"{'at least' if goal.is_floor else 'at most'} {goal.limit:g}"
    if value is None:
        return goal.title, target, "–", "not measured"
    return goal.title, target, number(value), "yes" if goal.is_met(value) else "no"


def table(rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns; the first row is the header."""
    first, *others = list(rows)
    widths = [max(len(row[column]) for row in (first, *others)) for column in range(len(first))]
    widths = [max(width, 4) for width in widths]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join("| " + " | ".join(_aligned(row, widths)) + " |" for row in (first, rule, *others))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    yield row[0].ljust(widths[0])
    yield from (text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))


def text(results: Results) -> str:
    """The complete report."""
    header = ("goal", "target", "measured", "met")
    goals = table([header, *(_goal(goal, results) for goal in goals_of(results))])
    parts = [table(_rows(results)), goals]
    remarks = [f"{name} was skipped: {reason}" for name, reason in results.skipped.items()]
    remarks += results.notes + [f"failed: {error}" for error in results.broken]
    if remarks:
        parts.append("\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(parts)
