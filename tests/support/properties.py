"""Hypothesis settings for property tests: fixed numbers of examples, no deadlines on slow machines."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.support.times import TORTURE


def property_settings(quick: int = 100, heavy: int | None = None, is_seeded: bool = False) -> settings:
    """Returns settings that decorate a property test.

    Args:
        quick: number of examples.
        heavy: number of examples in the heavy form of the tests; `quick` if None.
        is_seeded: whether each run of the heavy form uses the same examples. The quick form always does, so
            that a change is not blamed for an older defect.
    """
    return settings(
        max_examples=heavy if heavy and TORTURE else quick,
        derandomize=is_seeded or not TORTURE,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
