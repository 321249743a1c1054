"""Limits that are common to all adapters."""

from __future__ import annotations

from typing import Final

#: Seconds after which an idle connection is closed.
IDLE_SECONDS: Final = 30.0
