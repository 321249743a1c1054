"""Checks that twice the input takes about twice the CPU time, for every shipped route.

In each case of the shipped suites, lengthens each list and each string of the request and of the upstream's
response, up to a megabyte at twice the length. The result is the CPU time of the exchange without a network,
the minimum of several runs. `--check` fails if twice the input takes more than `LIMIT` times the CPU time.

    python -m benchmarks.doubling [--check] [--route TEXT]
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks import report
from benchmarks.growth import Growth, cases, distinct_growths, run_case
from engine.http.messages import Content, UpstreamResponse
from engine.testing.cases import Case, StubbedCall

LIMIT = 2.6
#: Bytes of the grown request or response, at twice the length.
MAX_BYTES = 1_000_000
#: A ratio below this needs at most `CLEAR_RUNS`, a ratio up to `LIMIT` at most `RUNS`.
CLEAR = 2.3
CLEAR_RUNS, RUNS, MOST_RUNS = 2, 5, 25
#: Below this many seconds the clock and the fixed cost of an exchange outweigh the input.
LEAST_SECONDS = 0.002

#: Bytes of small blocks that stay mapped.
_RETAINED_BYTES = 128 * 1024 * 1024
#: A small block; so many of them take less than an arena of Python's allocator, 1 MiB.
_BLOCK_BYTES, _BLOCKS_PER_ARENA = 400, 1_000
#: glibc raises its thresholds for a freed block of at most 32 MiB.
_LARGE_BLOCK_BYTES = 31 * 1024 * 1024
_retained: list[bytes] = []


@dataclass(frozen=True, slots=True)
class Doubled:
    """The CPU seconds of one length and of twice that length; infinite above the limits of an exchange."""

    once: float
    twice: float
    label: str = ""

    @property
    def ratio(self) -> float:
        return self.twice / self.once if self.twice < math.inf else math.inf


def retain_memory() -> None:
    """Make the allocators reuse freed memory instead of returning it to the system.

    Python unmaps an arena of small blocks when the last of these is freed, and glibc unmaps a freed block of
    128 KiB or more. The next run maps them again, with a page fault of 1 to 3 µs for each 4 KiB: up to half
    of its CPU time. If one length fits into the memory that is still mapped and twice that does not, linear
    work takes three times the CPU time. So keep one block in each of many arenas, and free a block of a size
    for which glibc raises its thresholds.
    """
    bytes(_LARGE_BLOCK_BYTES)
    blocks = [bytes(_BLOCK_BYTES) for _ in range(_RETAINED_BYTES // _BLOCK_BYTES)]
    _retained.extend(blocks[::_BLOCKS_PER_ARENA])


def _size(case: Case) -> int:
    return len(case.content.data) + sum(
        len(call.response.content.data) for call in case.calls if call.failure is None
    )


def _times(growth: Growth, max_bytes: int) -> int:
    """The number of units of a growth at which twice the length has about `max_bytes`."""
    unit = max(1, _size(growth.case(2)) - _size(growth.case(1)))
    return max(1, max_bytes // (2 * unit))


# --- One run ---------------------------------------------------------------------------------------------


def _unparsed(case: Case) -> Case:
    """A copy of the case with unparsed bodies: a `Content` caches its parsed value."""
    return replace(
        case,
        content=Content(case.content.data, case.content.media_type),
        calls=tuple(call if call.failure is not None else _unparsed_call(call) for call in case.calls),
        body=None,
    )


def _unparsed_call(call: StubbedCall) -> StubbedCall:
    response = call.response
    content = Content(response.content.data, response.content.media_type)
    return replace(call, response=UpstreamResponse(response.status, response.headers, content))


def _seconds(case: Case) -> float | None:
    """The CPU seconds of a run; None if it makes more calls than the case has responses.

    Infinite if it exceeds the limits of an exchange, which linear work never does: quadratic work may reach
    them at both lengths, after the same time.
    """
    fresh = _unparsed(case)
    before = time.thread_time()
    result = run_case(fresh)
    seconds = time.thread_time() - before
    if result is None:
        return None
    error = result.error
    return math.inf if error is not None and "(limits." in f"{error.message} {error.cause}" else seconds


def _outcome(case: Case) -> tuple[int, str] | None:
    """The status and the kind of error of a run; None as in `_seconds`."""
    result = run_case(_unparsed(case))
    if result is None:
        return None
    return result.response.status, "" if result.error is None else result.error.kind


# --- A growth --------------------------------------------------------------------------------------------


def measured(growth: Growth, max_bytes: int = MAX_BYTES) -> Doubled | None:
    """The CPU time of a growth, with at most `max_bytes` at twice the length; None below `LEAST_SECONDS`.

    If the ratio is above the limit, the length is doubled once more, and the smaller ratio counts. Work that
    starts at some size, or a cache that overflows at some size, raises the ratio of one doubling only. The
    ratio of superlinear work grows with the length, so the second doubling is above the limit too.
    """
    times = _times(growth, max_bytes)
    found = _pair(growth, times)
    if found is None or not LIMIT < found.ratio < math.inf:
        return found
    further = _pair(growth, 2 * times)
    # If the longest run ends differently, such as with an error, its time is not comparable.
    if further is None or _outcome(growth.case(4 * times)) != _outcome(growth.case(2 * times)):
        return found
    return min(found, further, key=lambda each: each.ratio)


def _pair(growth: Growth, times: int) -> Doubled | None:
    """The minimum CPU seconds of `times` units and of twice as many.

    Other processes can slow a run down, through cold caches and a slower core, but never speed it up. So a
    ratio counts as above the limit only if it stays there for `MOST_RUNS`; superlinear work has no fast run.
    """
    one, two = _unparsed(growth.case(times)), _unparsed(growth.case(2 * times))
    # The first run maps the memory that later runs reuse.
    first = _seconds(two)
    if first is None or first < LEAST_SECONDS:
        return None
    once = twice = math.inf
    for run in range(1, MOST_RUNS + 1):
        shorter, longer = _seconds(one), _seconds(two)
        if shorter is None or longer is None:
            return None
        once, twice = min(once, shorter), min(twice, longer)
        runs = CLEAR_RUNS if twice < CLEAR * once else RUNS if twice <= LIMIT * once else MOST_RUNS
        if run >= runs or not LEAST_SECONDS <= twice < math.inf:
            break
    return Doubled(once, twice) if twice >= LEAST_SECONDS else None


def doubled(route: str) -> Iterator[Doubled]:
    """The measured growths of a route, without those that take too little time to measure."""
    for case, growth in distinct_growths(route):
        found = measured(growth)
        if found is not None:
            yield replace(found, label=f"{case.spec.name}: {growth.label}")


# --- All routes ------------------------------------------------------------------------------------------


def _rows(found: dict[str, list[Doubled]]) -> Iterator[tuple[str, ...]]:
    yield "route", "growths", "worst ratio", "growth", "CPU ms"
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
    parser.add_argument("--check", action="store_true", help=f"fail if a ratio is above {LIMIT}")
    parser.add_argument("--route", default="", metavar="TEXT", help="only routes whose names contain TEXT")
    arguments = parser.parse_args()
    gc.disable()
    retain_memory()
    routes = [route for route in sorted(cases()) if arguments.route in route]
    found = {route: list(doubled(route)) for route in routes}
    found = {route: each for route, each in found.items() if each}
    print(report.table(_rows(found)))
    superlinear = [each for one in found.values() for each in one if each.ratio > LIMIT]
    for each in superlinear:
        print(f"above {LIMIT}: {each.label}: {each.once * 1e3:.1f} ms, then {each.twice * 1e3:.1f} ms")
    return 1 if superlinear and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
