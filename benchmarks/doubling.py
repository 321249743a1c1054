"""Twice as much input takes about twice the CPU time, for every shipped route.

Of each case of the shipped suites, each list and each string of the request and of the upstream's response is
made long, up to a megabyte at twice the length. The figure is the CPU time of the exchange without a network,
the least of five. `--check` fails where twice the input takes more than `LIMIT` times the CPU time.

    python -m benchmarks.doubling [--check] [--route TEXT]
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks import report
from benchmarks.growth import Growth, carried_out, cases, distinct_growths
from engine.testing.cases import Case

LIMIT = 2.6
#: Bytes of what is grown, at twice the length.
MAX_BYTES = 1_000_000
RUNS = 5
#: A ratio that needs no further runs.
CLEAR = 2.3
#: Below this many seconds the clock and what each exchange costs anyhow count for more than the input.
LEAST_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Doubled:
    """The CPU seconds of one length, and of twice that."""

    label: str
    once: float
    twice: float

    @property
    def ratio(self) -> float:
        return self.twice / self.once


def _size(case: Case) -> int:
    return len(case.content.data) + sum(
        len(call.response.content.data) for call in case.calls if call.failure is None
    )


def _times(growth: Growth) -> int:
    """How many times its unit a growth has, so that it is large enough at twice that."""
    unit = max(1, _size(growth.case(2)) - _size(growth.case(1)))
    return max(1, MAX_BYTES // (2 * unit))


def _seconds(case: Case) -> float | None:
    before = time.thread_time()
    answered = carried_out(case)
    return None if answered is None else time.thread_time() - before


def _measured(growth: Growth) -> tuple[float, float] | None:
    """The least CPU seconds of a growth and of twice that; no more runs where the first ones are clear."""
    times, once, twice = _times(growth), math.inf, math.inf
    for _ in range(RUNS):
        one, other = _seconds(growth.case(times)), _seconds(growth.case(2 * times))
        if one is None or other is None:
            return None
        once, twice = min(once, one), min(twice, other)
        if twice < CLEAR * once or twice < LEAST_SECONDS:
            break
    return once, twice


def doubled(route: str) -> Iterator[Doubled]:
    """Each growth of a route, where it takes time at all."""
    for case, growth in distinct_growths(route):
        found = _measured(growth)
        if found is not None and found[1] >= LEAST_SECONDS:
            yield Doubled(f"{case.spec.name}: {growth.label}", *found)


def _rows(found: dict[str, list[Doubled]]) -> Iterator[tuple[str, ...]]:
    yield "route", "growths", "worst ratio", "of", "CPU ms"
    for route, each in found.items():
        worst = max(each, key=lambda one: one.ratio)
        yield (
            route,
            str(len(each)),
            report.number(worst.ratio),
            worst.label[:60],
            report.number(worst.twice * 1e3),
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doubling")
    parser.add_argument("--check", action="store_true", help=f"fail where a ratio is above {LIMIT}")
    parser.add_argument("--route", default="", metavar="TEXT", help="routes whose names contain this")
    arguments = parser.parse_args()
    gc.disable()
    routes = [route for route in sorted(cases()) if arguments.route in route]
    found = {route: list(doubled(route)) for route in routes}
    measured = {route: each for route, each in found.items() if each}
    print(report.table(_rows(measured)))
    wrong = [each for one in measured.values() for each in one if each.ratio > LIMIT]
    for each in wrong:
        print(f"above {LIMIT}: {each.label}: {each.once * 1e3:.1f} ms, then {each.twice * 1e3:.1f} ms")
    return 1 if wrong and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
