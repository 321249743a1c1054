"""Fixtures that tests of the server and its clients share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.upstream import Upstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """One loopback upstream for the tests of a module; requests are identified by their request id.

    Not shared by modules: a behaviour that one sets for `/slow` would serve another's `/slow/hang`.
    """
    with Upstream() as running:
        yield running
