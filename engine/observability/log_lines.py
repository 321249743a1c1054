"""Log lines, as JSON or for a terminal.

Contract: a line is one write, so that lines of several processes do not mix; a line that cannot be written is
lost. Control characters and lone surrogates are escaped. Must not know what is logged.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

import orjson

Format = Literal["json", "console"]

_LEVEL_NAMES: Final = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}

#: Text that needs no quotes in `key=value`.
_PLAIN: Final = re.compile(r"[\w.,:;/@%+*{}()<>?&~^!|#$-]+", re.ASCII)

# ANSI escape sequences (ECMA-48, 8.3.117).
_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_BOLD: Final = "\x1b[1m"
_KEY_COLOUR: Final = "\x1b[36m"
_LEVEL_COLOURS: Final = {
    "debug": "\x1b[34m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
}


class LineLogger:
    """Writes lines of a level and above to a stream.

    Args:
        level: the lowest level that is written, a number of `logging`.
        log_format: `json`, or `console` for a terminal, with colours unless `NO_COLOR` is set.
        stream: None for standard error, looked up for each line.
    """

    def __init__(self, level: int, log_format: Format = "json", stream: TextIO | None = None) -> None:
        self.level = level
        self._format = _json_line if log_format == "json" else _console_format(stream or sys.stderr)
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
        """Write a line: the fields, then `event`, `level` and `timestamp`."""
        if level < self.level:
            return
        fields["event"] = event
        fields["level"] = _LEVEL_NAMES.get(level, str(level))
        fields["timestamp"] = datetime.now(UTC)
        line = self._format(fields) + "\n"
        stream = self._stream or sys.stderr
        try:
            stream.write(line)
            stream.flush()
        except OSError:
            pass


def _json_line(fields: dict[str, Any]) -> str:
    try:
        return orjson.dumps(fields, default=repr, option=orjson.OPT_UTC_Z).decode()
    except TypeError:
        # orjson does not write lone surrogates, which the path of a request may contain.
        return json.dumps({**fields, "timestamp": _iso(fields["timestamp"])}, default=repr)


def _console_format(stream: TextIO) -> Callable[[dict[str, Any]], str]:
    if stream.isatty() and not os.environ.get("NO_COLOR"):
        return _coloured_line
    return _plain_line


def _plain_line(fields: dict[str, Any]) -> str:
    timestamp, level, event = _take_head(fields)
    pairs = [f"{key}={_text(value)}" for key, value in fields.items() if value is not None]
    return " ".join((timestamp, f"[{level:<8}]", event, *pairs))


def _coloured_line(fields: dict[str, Any]) -> str:
    timestamp, level, event = _take_head(fields)
    colour = _LEVEL_COLOURS.get(level, "")
    head = f"{_DIM}{timestamp}{_RESET} [{colour}{level:<8}{_RESET}] {_BOLD}{event}{_RESET}"
    pairs = [
        f"{_KEY_COLOUR}{key}{_RESET}={_text(value)}" for key, value in fields.items() if value is not None
    ]
    return " ".join((head, *pairs))


def _take_head(fields: dict[str, Any]) -> tuple[str, str, str]:
    """Remove timestamp, level and event from the fields."""
    return _iso(fields.pop("timestamp")), fields.pop("level"), fields.pop("event")


def _text(value: Any) -> str:
    """A value in `key=value`: plain text unchanged, anything else as JSON."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    text = json.dumps(value, ensure_ascii=False, default=repr)
    # Control characters could move the cursor, and lone surrogates cannot be encoded.
    return text if text.isprintable() else json.dumps(value, default=repr)


def _iso(moment: datetime) -> str:
    """A UTC time in ISO 8601."""
    # Not isoformat(): each call leaves a string in Python's method cache, which may pin a MiB of memory.
    date = f"{moment.year}-{moment.month:02}-{moment.day:02}"
    return f"{date}T{moment.hour:02}:{moment.minute:02}:{moment.second:02}.{moment.microsecond:06}Z"
