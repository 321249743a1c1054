"""How a property is tried: on so many examples, however long a slow machine takes to make and to try them."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.support.times import TORTURE


def tried(quick: int = 100, heavy: int | None = None, is_seeded: bool = False) -> settings:
    """Decorates a property.

    Args:
        quick: how many examples.
        heavy: how many in the heavy form of the tests; as many as else without it.
        is_seeded: whether every run of the heavy form has the same ones. Those of the other always have, so
            that a change is not blamed for what an earlier one has done.
    """
    return settings(
        max_examples=heavy if heavy and TORTURE else quick,
        derandomize=is_seeded or not TORTURE,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
