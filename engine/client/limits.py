"""Bounds that hold for every adapter."""

from __future__ import annotations

from typing import Final

IDLE_SECONDS: Final = 30.0
