"""Exchanges with several calls, attempts, pass-through or no call, with client keys, and what they read.

The cases are the suites of `suites/exchanges/`. The suite runner uses no network, and makes one call after
another where a server would make parallel calls.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import run_suites

SUITES = sorted((Path(__file__).parent.parent / "suites" / "exchanges").glob("*.test.yaml"))


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name.partition(".")[0])
def test_every_case_passes_and_covers_the_mapping(suite: Path) -> None:
    run = run_suites([suite])
    mismatches = [
        f"{case.span}: {case.name}: {mismatch}"
        for result in run.suites
        for case in result.cases
        for mismatch in case.mismatches
    ]
    assert [str(d) for result in run.suites for d in result.findings] == []
    assert mismatches == []
    assert [f"{uncovered.span}: {uncovered.what}" for uncovered in run.uncovered] == []


def test_there_are_suites() -> None:
    assert len(SUITES) >= 3
