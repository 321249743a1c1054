"""Fixtures of the tests of commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.observability import logs
from tests.support.commands import SHOP


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The file of a small mapping."""
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP)
    return file


@pytest.fixture(autouse=True)
def log_settings() -> Iterator[None]:
    """Restores the log after a `serve` in this process, whose output streams are gone."""
    before = dict(vars(logs._state))
    yield
    vars(logs._state).clear()
    vars(logs._state).update(before)
