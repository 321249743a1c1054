"""Lines of a log as JSON, one write each.

Contract: a line has its fields first, then `event`, `level` and `timestamp` (ISO 8601, UTC). One that cannot
be written is lost. Must not know what is logged.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import orjson

_NAMES: Final = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}


def _written(fields: dict[str, Any]) -> str:
    """The fields as JSON; what a client sent may have lone surrogates, which orjson does not write."""
    try:
        return orjson.dumps(fields, default=repr, option=orjson.OPT_UTC_Z).decode()
    except TypeError:
        timestamp = fields["timestamp"].isoformat().replace("+00:00", "Z")
        return json.dumps({**fields, "timestamp": timestamp}, default=repr)


class JsonLines:
    """A log of lines of some level and above, to a stream.

    Args:
        least: the level, a number of `logging`.
        stream: None for standard error, whatever that is when a line is written.
    """

    def __init__(self, least: int, stream: TextIO | None = None) -> None:
        self._least = least
        self._stream = stream

    def info(self, event: str, /, **fields: Any) -> None:
        """Write a line of level `info`."""
        self.log(logging.INFO, event, **fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Write a line of level `warning`."""
        self.log(logging.WARNING, event, **fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Write a line of level `error`."""
        self.log(logging.ERROR, event, **fields)

    def log(self, level: int, event: str, /, **fields: Any) -> None:
        """Write a line, its end with it, so that those of several processes do not run into each other."""
        if level < self._least:
            return
        fields["event"] = event
        fields["level"] = _NAMES.get(level, str(level))
        # Not isoformat(): each call leaves a string in Python's method cache, which may pin a MiB of memory.
        fields["timestamp"] = datetime.now(UTC)
        stream = self._stream or sys.stderr
        line = _written(fields) + "\n"
        try:
            stream.write(line)
            stream.flush()
        except OSError:
            pass
