"""Fixtures of the tests of commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import SHOP


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The file of a small mapping."""
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP)
    return file
