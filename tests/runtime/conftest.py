"""Fixtures of the serving path's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.upstream import Upstream


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """One loopback upstream for all tests of a process; requests are told apart by their request id."""
    with Upstream() as running:
        yield running
