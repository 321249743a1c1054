"""The benchmark of the CPU time of twice the input finds superlinear work, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import doubling
from benchmarks.doubling import LIMIT, measured
from benchmarks.growth import Growth, growths_of
from engine.testing.cases import Case
from engine.testing.loading import load_suite

#: Bytes at twice the length.
MAX_BYTES = 6_000

LINEAR = "$each: '${ items }', n: '${ n }'"
QUADRATIC = "$each: '${ items }', before: '${ $request.body.items[?n < `0`] }'"


def growth(directory: Path, template: str, steps: int = 10_000_000) -> Growth:
    """The growth of the list `items` for a template of the response's body, with a limit of steps."""
    (directory / "q.yaml").write_text(
        f"dragoman: 1\nlimits: {{ steps: {steps} }}\n"
        f"routes:\n  POST /x:\n    respond: {{ body: {{ {template} }} }}\n"
    )
    (directory / "q.test.yaml").write_text(
        "dragoman: 1\ncases: [{ name: one, request: { path: /x, body: { items: [{ n: 1 }] } } }]\n"
    )
    (case,) = load_suite(directory / "q.test.yaml").cases
    return next(each for each in growths_of(case) if each.label == "body items")


def ratio(growth: Growth, max_bytes: int = MAX_BYTES) -> float:
    found = measured(growth, max_bytes)
    assert found is not None
    return found.ratio


def test_linear_work_is_below_the_limit(tmp_path: Path) -> None:
    assert ratio(growth(tmp_path, LINEAR), 500_000) < LIMIT


def test_quadratic_work_is_above_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubling, "MOST_RUNS", doubling.RUNS)
    assert LIMIT < ratio(growth(tmp_path, QUADRATIC)) < math.inf


def test_quadratic_work_that_exceeds_the_limits_is_found(tmp_path: Path) -> None:
    assert ratio(growth(tmp_path, QUADRATIC, steps=100_000)) == math.inf
    assert ratio(growth(tmp_path, QUADRATIC, steps=50_000)) == math.inf


# --- With a simulated clock ------------------------------------------------------------------------------


def with_cost(monkeypatch: pytest.MonkeyPatch, cost: Callable[[float], float]) -> None:
    """Simulate the seconds of a run as a function of its size in thousands of bytes."""
    monkeypatch.setattr(doubling, "_seconds", lambda case: cost(size_of(case) / 1000))


def size_of(case: Case) -> int:
    return len(case.content.data)


@pytest.mark.parametrize(
    ("cost", "is_superlinear"),
    [
        (lambda size: size, False),
        (lambda size: size * (20 + math.log(size)), False),
        (lambda size: size * (1 if size < 4 else 1.5), False),
        (lambda size: size * (1 if size < 4 else 3), False),
        (lambda size: size**2, True),
        (lambda size: size**1.5, True),
        (lambda size: 5 * size + size**2, True),
        (lambda size: size + (0 if size < 4 else size**2), True),
    ],
    ids=(
        *("linear", "logarithmic factor", "work from a size on", "cache exceeded"),
        *("quadratic", "to the power of 1.5", "linear and quadratic", "quadratic from a size on"),
    ),
)
def test_work_is_judged_by_its_growth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: Callable[[float], float], is_superlinear: bool
) -> None:
    with_cost(monkeypatch, cost)
    assert (ratio(growth(tmp_path, LINEAR)) > LIMIT) == is_superlinear


def test_slow_runs_do_not_count_if_others_are_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow: Iterator[float] = iter([2.0] * (2 * doubling.RUNS))
    with_cost(monkeypatch, lambda size: size * (next(slow, 1.0) if size > 4 else 1.0))
    assert ratio(growth(tmp_path, LINEAR)) == pytest.approx(2, abs=0.1)


def test_a_second_doubling_with_another_outcome_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cost(monkeypatch, lambda size: min(size, 8) ** 2)
    monkeypatch.setattr(doubling, "_outcome", lambda case: (200 if size_of(case) < 8_000 else 413, ""))
    assert ratio(growth(tmp_path, LINEAR)) > LIMIT
