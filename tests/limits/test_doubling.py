"""Doubling a part of a request or upstream response about doubles the work, for every shipped route.

The tests compare the number of steps that the engine counts, never time; `benchmarks.doubling` compares CPU
time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.growth import ITEMS, cases, distinct_growths, growths_of, steps_of
from engine.testing.loading import load_suite

#: The maximum ratio of the steps for twice the input, and steps that do not count.
FACTOR, SLACK = 2.2, 32


def superlinear(route: str) -> list[str]:
    """The parts of a route's cases for which doubling the part more than doubles the steps."""
    found: list[str] = []
    for case, growth in distinct_growths(route):
        once, twice = steps_of(growth.case(1)), steps_of(growth.case(2))
        if once is not None and twice is not None and twice > FACTOR * once + SLACK:
            found.append(f"{case.spec.name}: {growth.label}: {once} steps, then {twice}")
    return found


ROUTES = sorted(cases())


def test_there_are_cases_for_all_routes_with_a_body() -> None:
    plans = {name: case.plans for name, found in cases().items() for case in found[:1]}
    routes = {
        f"{mapping.name}: {route.method} {route.spec.path}"
        for each in plans.values()
        for mapping in each.mappings.values()
        for route in mapping.routes
        if route.reads_body and not any(attempt.forward for attempt in route.attempts)
    }
    assert routes
    assert routes <= set(ROUTES)


@pytest.mark.parametrize("route", ROUTES)
def test_twice_the_input_is_twice_the_work(route: str) -> None:
    assert superlinear(route) == []


# --- The test itself -------------------------------------------------------------------------------------


def test_a_quadratic_template_is_found(tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text(
        "dragoman: 1\nroutes:\n  POST /x:\n    respond:\n      body:\n        $each: ${ items }\n"
        "        before: ${ $request.body.items[?n < `0`] }\n"
    )
    (tmp_path / "q.test.yaml").write_text(
        "dragoman: 1\ncases: [{ name: one, request: { path: /x, body: { items: [{ n: 1 }], s: abc } } }]\n"
    )
    (case,) = load_suite(tmp_path / "q.test.yaml").cases
    found = {
        growth.label: (steps_of(growth.case(1)), steps_of(growth.case(2))) for growth in growths_of(case)
    }
    assert found["body items"] == (ITEMS + ITEMS**2, 2 * ITEMS + 4 * ITEMS**2)
    assert found["body all lists"] == found["body items"]
    assert found["body s"] == (2, 2)
