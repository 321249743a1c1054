"""Durations in the notation of the language: `250ms`, `2s`, `5m`, `1h`."""

from __future__ import annotations

import re
from typing import Final

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)\Z")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST: Final = 24 * 3600


def seconds_of(text: str) -> float:
    """The seconds of a duration.

    Raises:
        ValueError: it is not a duration, or out of range; its text describes the allowed values.
    """
    match = _DURATION.match(text)
    if match is None:
        raise ValueError("expected a duration such as 250ms, 2s, 5m or 1h")
    seconds = float(match.group(1)) * _SECONDS[match.group(2)]
    if not 0 < seconds <= _LONGEST:
        raise ValueError("a duration must be above 0 and at most 24h")
    return seconds
