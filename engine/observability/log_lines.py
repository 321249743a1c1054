"""Log lines: the level, the stream and the JSON format.

Contract: a line is one write, so that lines of several processes do not mix; a line that cannot be written is
lost. Fields without a value are omitted. Control characters and lone surrogates are escaped. Must not know
what is logged.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

import orjson

Format = Literal["json", "console"]
#: Formats the fields of a line, which include `event` and `level`, without the line end. May change them.
Formatter = Callable[[dict[str, Any]], str]

_LEVEL_NAMES: Final = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}


def json_line(fields: dict[str, Any]) -> str:
    """A line in JSON: the fields with a value, then `timestamp`."""
    if None in fields.values():
        fields = {name: value for name, value in fields.items() if value is not None}
    fields["timestamp"] = now = datetime.now(UTC)
    try:
        return orjson.dumps(fields, default=repr, option=orjson.OPT_UTC_Z).decode()
    except TypeError:
        # orjson does not write lone surrogates, which the path of a request may contain.
        return json.dumps({**fields, "timestamp": _iso(now)}, default=repr)


class LineLogger:
    """Writes lines of a level and above to a stream.

    Args:
        level: the lowest level that is written, a number of `logging`.
        formatter: the format of a line.
        stream: None for standard error, looked up for each line.

    Attributes:
        common: fields of every line.
    """

    def __init__(self, level: int, formatter: Formatter = json_line, stream: TextIO | None = None) -> None:
        self.level = level
        self.common: dict[str, Any] = {}
        self._format = formatter
        self._stream = stream

    def info(self, event: str, /, **fields: Any) -> None:
        """Write a line of level `info`."""
        self.log(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Write a line of level `warning`."""
        self.log(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Write a line of level `error`."""
        self.log(logging.ERROR, event, fields)

    def log(self, level: int, event: str, fields: dict[str, Any]) -> None:
        """Write a line with fields, which may be changed."""
        if level >= self.level:
            self._write(level, event, fields)

    def announce(self, event: str, /, **fields: Any) -> None:
        """Write a line of level `info`, even if that is below the level."""
        self._write(logging.INFO, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        if self.common:
            fields = {**self.common, **fields}
        fields["event"] = event
        fields["level"] = _LEVEL_NAMES.get(level, str(level))
        line = self._format(fields) + "\n"
        stream = self._stream or sys.stderr
        try:
            stream.write(line)
            stream.flush()
        except OSError:
            pass


def _iso(moment: datetime) -> str:
    """A UTC time in ISO 8601."""
    # Not isoformat(): each call leaves a string in Python's method cache, which may pin a MiB of memory.
    date = f"{moment.year}-{moment.month:02}-{moment.day:02}"
    return f"{date}T{moment.hour:02}:{moment.minute:02}:{moment.second:02}.{moment.microsecond:06}Z"
