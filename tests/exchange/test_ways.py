"""The ways to an answer: several calls, attempts, bytes through, and answers of the engine's own.

The cases are the suites of `suites/ways/`, carried out by the runner of suites: without a network, and call
by call where a server would make several at the same time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import run_suites

WAYS = Path(__file__).parent.parent / "suites" / "ways"
SUITES = sorted(WAYS.glob("*.test.yaml"))


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name.partition(".")[0])
def test_every_case_holds_and_every_place_is_reached(suite: Path) -> None:
    run = run_suites([suite])
    told = [
        f"{case.span}: {case.name}: {mismatch}"
        for result in run.suites
        for case in result.cases
        for mismatch in case.mismatches
    ]
    assert [str(d) for result in run.suites for d in result.findings] == []
    assert told == []
    assert [f"{place.span}: {place.what}" for place in run.uncovered] == []


def test_there_are_suites() -> None:
    assert len(SUITES) >= 3
