"""JMESPath's own compliance suite (github.com/jmespath/jmespath.test), if present next to the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EvaluationError

from .compiled import Refused, compiled, same, search

FOLDER = Path(__file__).parents[3].parent / "shared" / "reference" / "jmespath-compliance" / "tests"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the compliance suite is not available")


def cases() -> list[Any]:
    """(given, case) for each case of each file, without the benchmarks."""
    return [
        pytest.param(group["given"], case, id=f"{path.stem}-{number}.{position}")
        for path in sorted(FOLDER.glob("*.json"))
        for number, group in enumerate(json.loads(path.read_text("utf-8")))
        for position, case in enumerate(group["cases"])
        if "bench" not in case
    ]


CASES = cases()


def test_the_suite_is_complete() -> None:
    assert len(CASES) == 892


@pytest.mark.parametrize(("given", "case"), CASES)
def test_case(given: Any, case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises((Refused, EvaluationError)):
            search(case["expression"], given)
    else:
        function = compiled(case["expression"])
        assert same(search(case["expression"], given), case["result"]), function.source
