"""Log lines for people at a terminal: a short line for each request, with its error below.

    13:43:37 GET /hello/x 200 0.3 ms hello
    13:43:38 POST /orders 502 1.2 ms shop
             upstream_error: the upstream 'up' cannot be reached: connection refused (request 4f0c…)
    13:43:40 warning breaker upstream=up open=true failures=5

Contract: the time is local. Control characters and lone surrogates in values are escaped, so that a client
cannot write lines or move the cursor. Colors only if requested.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from typing import Any, Final

# ANSI escape sequences (ECMA-48, 8.3.117).
_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_BOLD: Final = "\x1b[1m"
_RED: Final = "\x1b[31m"
_GREEN: Final = "\x1b[32m"
_YELLOW: Final = "\x1b[33m"
_CYAN: Final = "\x1b[36m"

#: The color of a status, by its first digit.
_STATUS_COLORS: Final = {2: _GREEN, 3: _CYAN, 4: _YELLOW, 5: _RED}
_LEVEL_COLORS: Final = {"warning": _YELLOW, "error": _RED, "critical": _RED}
#: Events of a process that could not start: a sentence without a time.
_FAILED_STARTS: Final = ("listen_failed", "no_routes", "start_failed")
#: The indentation of lines that continue a line: the width of the time and a space.
_INDENT: Final = " " * 9
#: Text that needs no quotes in `key=value`.
_PLAIN: Final = re.compile(r"[\w.,:;/@%+*{}()<>?&~^!|#$-]+", re.ASCII)


class ConsoleFormatter:
    """Formats the fields of a line.

    Args:
        has_colors: whether to write escape sequences for colors.
    """

    def __init__(self, has_colors: bool) -> None:
        self._has_colors = has_colors
        self._formats = {"request": self._request, "reload": self._reload}

    def __call__(self, fields: dict[str, Any]) -> str:
        """The line, or several: an error has a line of its own."""
        event, level = fields.pop("event"), fields.pop("level")
        if event in _FAILED_STARTS:
            return self._failure(fields, level)
        now = self._styled(time.strftime("%H:%M:%S"), _DIM)
        formatter = self._formats.get(event)
        text = self._other(event, level, fields) if formatter is None else formatter(fields, level)
        return f"{now} {text}"

    def _styled(self, text: str, style: str) -> str:
        return f"{style}{text}{_RESET}" if self._has_colors else text

    # --- Requests ----------------------------------------------------------------------------------------

    def _request(self, fields: dict[str, Any], level: str) -> str:
        status = fields["status_code"]
        color = _STATUS_COLORS.get(status // 100, _RED)
        line = (
            f"{_word(fields['method'])} {_word(fields['path'])} {self._styled(str(status), color)} "
            f"{_milliseconds(fields['duration_ms'])}"
        )
        mapping = fields.get("mapping")
        if mapping is not None:
            line += f" {mapping}"
        details = ", ".join(_details(fields))
        if details:
            line += self._styled(f" ({details})", _DIM)
        kind = fields.get("error_kind")
        return line if kind is None else f"{line}\n{_INDENT}{self._error(kind, fields, status)}"

    def _error(self, kind: str, fields: dict[str, Any], status: int) -> str:
        parts = (kind, fields.get("error_message"), fields.get("cause"))
        text = self._styled(
            ": ".join(_printable(part) for part in parts if part), _STATUS_COLORS[4 + (status > 499)]
        )
        if status > 499:
            text += self._styled(f" (request {fields['request_id']})", _DIM)
        return text

    # --- Other events ------------------------------------------------------------------------------------

    def _reload(self, fields: dict[str, Any], level: str) -> str:
        generation = fields["generation"]
        if fields["outcome"] == "done":
            names = ", ".join(fields["mappings"])
            return f"reloaded {names} (generation {generation}, {fields['seconds']} s)"
        text = f"reload failed: {_printable(fields['reason'])}; generation {generation} stays in use"
        return self._styled(text, _RED)

    def _failure(self, fields: dict[str, Any], level: str) -> str:
        return f"{self._styled(f'{level}:', _RED)} {_printable(fields['message'])}"

    def _other(self, event: str, level: str, fields: dict[str, Any]) -> str:
        color = _LEVEL_COLORS.get(level)
        message, trace = fields.pop("message", None), fields.pop("traceback", ())
        parts = [] if color is None else [self._styled(level, color)]
        parts.append(self._styled(event, _BOLD))
        if message is not None:
            parts.append(_printable(message))
        parts += [f"{name}={_value(value)}" for name, value in fields.items() if value is not None]
        return "".join((" ".join(parts), *(f"\n{_INDENT}{_printable(frame)}" for frame in trace)))


def _details(fields: dict[str, Any]) -> Iterable[str]:
    """What is unusual about a request."""
    outcomes = fields.get("attempt_outcomes")
    if outcomes:
        label = f"{fields['attempts']} attempts" if fields["attempts"] > 1 else "calls"
        yield f"{label}: {'; '.join(map(_printable, outcomes))}"
    events = fields.get("events")
    if events:
        yield f"{events} events, first after {_milliseconds(fields['first_event_ms'])}"
    tokens = [
        f"{fields[name]} {name.partition('_')[0]}"
        for name in ("input_tokens", "output_tokens")
        if name in fields
    ]
    if tokens:
        yield f"tokens: {' + '.join(tokens)}"
    dropped = fields.get("dropped_fields")
    if dropped:
        yield f"dropped fields: {' '.join(map(_word, dropped))}"


def _milliseconds(duration: float) -> str:
    return f"{duration:.1f} ms" if duration < 100 else f"{duration:.0f} ms"


def _word(text: str) -> str:
    """A text without spaces, unchanged if it is printable, otherwise as a JSON string."""
    return text if text.isprintable() and " " not in text else json.dumps(text)


def _printable(text: Any) -> str:
    """A text with control characters, line ends and lone surrogates escaped."""
    written = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False, default=repr)
    if written.isprintable():
        return written
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in written)


def _value(value: Any) -> str:
    """A value in `key=value`: plain text unchanged, anything else as JSON."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if text.isprintable() else json.dumps(value, default=repr)
