"""What an upstream says of its own failure: the text for the client, and the text for the log.

Contract: the client sees the text of an error field alone. Stack traces, HTML and whatever is in no error
field stay in the log, of which they take one bounded line.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from engine.values import JsonError, dumps

#: The most characters that are shown; their UTF-8 takes no more bytes than this either.
MAX_TEXT: Final = 1024
#: Where APIs have the text of an error, the first that is text wins. In the others, and everywhere of a 404,
#: frameworks write the reason phrase of the status where nobody has said more.
_FIELDS: Final = (("error", "message"), ("error",), ("message",), ("detail",))
#: Where an entry of a list of errors has its text, such as that of a validation that failed.
_ENTRY_FIELDS: Final = ("message", "msg")
_MOST_ENTRIES: Final = 8
#: What is written for developers: pages, and the traces of Python, Java and JavaScript, Go, Ruby and Rust.
_INTERNAL = re.compile(
    r"<(?:!doctype|html|head|body|title|h1|pre|center)\b"
    r"|Traceback \(most recent call last\)|\bFile \"[^\"\n]{0,300}\", line \d"
    r"|(?:^|\s)at [\w$.<>]{1,200} ?\([^)\n]{0,300}:\d{1,9}\)|\bgoroutine \d{1,9} \["
    r"|\.(?:rb|go|rs|php):\d{1,9}(?::in\b|\b.{0,300}\n)|\bstack backtrace:",
    re.IGNORECASE,
)
_SPACES = re.compile(r"[\s\x00-\x1f\x7f]+")


def error_text(status: int, body: Any) -> str | None:
    """The text of the error field of a failed response, at most `MAX_TEXT`; None where there is none, it is
    written for developers, or it says no more than the status does.

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
    """What the log says of the body of a failed response: its error field, or the beginning of the body."""
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
    """The text of one of several errors: itself, or its field for that."""
    if isinstance(entry, dict):
        entry = next((entry[key] for key in _ENTRY_FIELDS if key in entry), "")
    return entry.strip() if isinstance(entry, str) else ""


def _is_reason(status: int, text: str) -> bool:
    """Whether a text is the reason phrase of a status, as frameworks write it where nobody has."""
    try:
        phrase = HTTPStatus(status).phrase.lower()
    except ValueError:
        return False
    said = text.lower().rstrip(".!")
    return said in (phrase, f"{status} {phrase}", f"{status}: {phrase}", f"{status} page {phrase}")


def _written(body: Any) -> str:
    try:
        return dumps(body)[: 4 * MAX_TEXT].decode("utf-8", "replace")
    except JsonError:
        return ""


def _shortened(text: str) -> str:
    """A text of at most `MAX_TEXT` bytes in UTF-8; `…` stands for what is left out."""
    data = text[:MAX_TEXT].encode("utf-8", "replace")
    if len(text) <= MAX_TEXT and len(data) <= MAX_TEXT:
        return text
    return data[: MAX_TEXT - 3].decode("utf-8", "ignore") + "…"
