"""The error text of a failed upstream response, for the client and for the log.

Contract: the client sees only the text of an error field. Stack traces, HTML and bodies without an error
field are only logged, as one line of limited length.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from engine.values import JsonError, dumps

#: The maximum length of a text, both in characters and in bytes of UTF-8.
MAX_TEXT: Final = 1024
#: Paths of the error text in API responses; the first that is text is used. Outside `error`, and for every
#: 404, frameworks fill in the reason phrase of the status by default.
_FIELDS: Final = (("error", "message"), ("error",), ("message",), ("detail",))
#: Fields with the text of an entry in a list of errors, such as validation errors.
_ENTRY_FIELDS: Final = ("message", "msg")
_MOST_ENTRIES: Final = 8
#: Texts for developers: HTML pages, and stack traces of Python, Java and JavaScript, Go, Ruby and Rust.
_INTERNAL = re.compile(
    r"<(?:!doctype|html|head|body|title|h1|pre|center)\b"
    r"|Traceback \(most recent call last\)|\bFile \"[^\"\n]{0,300}\", line \d"
    r"|(?:^|\s)at [\w$.<>]{1,200} ?\([^)\n]{0,300}:\d{1,9}\)|\bgoroutine \d{1,9} \["
    r"|\.(?:rb|go|rs|php):\d{1,9}(?::in\b|\b.{0,300}\n)|\bstack backtrace:",
    re.IGNORECASE,
)
_SPACES = re.compile(r"[\s\x00-\x1f\x7f]+")


def error_text(status: int, body: Any) -> str | None:
    """The text of the error field of a failed response, truncated to `MAX_TEXT`; None if there is none, it is
    for developers, or it only repeats the status.

    Args:
        body: a JSON value, or the text of a body that is not JSON.
    """
    for path in _FIELDS:
        text = _text_at(body, path)
        if text:
            is_plain = path[0] == "error" and status != 404
            is_shown = (is_plain or not _is_reason(status, text)) and not _INTERNAL.search(
                text[: 4 * MAX_TEXT]
            )
            return _shortened(text) if is_shown else None
    return None


def log_text(body: Any) -> str | None:
    """The text that is logged for the body of a failed response: its error field, or the start of the
    body."""
    text = next(filter(None, (_text_at(body, path) for path in _FIELDS)), None)
    if text is None and body is not None:
        text = body if isinstance(body, str) else _written(body)
    return None if text is None else _shortened(_SPACES.sub(" ", text[: 4 * MAX_TEXT]).strip()) or None


def _text_at(body: Any, path: tuple[str, ...]) -> str | None:
    for key in path:
        body = body.get(key) if isinstance(body, dict) else None
    if isinstance(body, list):
        body = "; ".join(filter(None, map(_entry_text, body[:_MOST_ENTRIES])))
    return body.strip() if isinstance(body, str) else None


def _entry_text(entry: Any) -> str:
    """The text of an entry in a list of errors: the entry itself, or its text field."""
    if isinstance(entry, dict):
        entry = next((entry[key] for key in _ENTRY_FIELDS if key in entry), "")
    return entry.strip() if isinstance(entry, str) else ""


def _is_reason(status: int, text: str) -> bool:
    """Whether a text is the reason phrase of a status, as frameworks write it by default."""
    try:
        phrase = HTTPStatus(status).phrase.lower()
    except ValueError:
        return False
    normalized = text.lower().rstrip(".!")
    return normalized in (phrase, f"{status} {phrase}", f"{status}: {phrase}", f"{status} page {phrase}")


def _written(body: Any) -> str:
    try:
        return dumps(body)[: 4 * MAX_TEXT].decode("utf-8", "replace")
    except JsonError:
        return ""


def _shortened(text: str) -> str:
    """A text truncated to `MAX_TEXT` bytes in UTF-8; `…` marks the truncation."""
    data = text[:MAX_TEXT].encode("utf-8", "replace")
    if len(text) <= MAX_TEXT and len(data) <= MAX_TEXT:
        return text
    return data[: MAX_TEXT - 3].decode("utf-8", "ignore") + "…"
