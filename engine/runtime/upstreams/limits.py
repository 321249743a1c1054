"""Bounds that hold for every adapter."""

from __future__ import annotations

from typing import Final

#: Of an answer that is read as a whole.
MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
IDLE_SECONDS: Final = 30.0
