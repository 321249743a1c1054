"""An answer's values → the answer, for replies and failures alike.

Contract: an answer that leaves here can be sent: its status is one, and its body has been written.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange.evaluation import write
from engine.http.media_types import is_json
from engine.http.messages import EMPTY, JSON, TEXT, Content, Response
from engine.values import ABSENT

#: Statuses whose answers have no body.
NO_BODY: Final = (204, 205, 304)


def outbound_of(status: int, headers: dict[str, str], body: Any, kind: str) -> Response:
    """An answer from a template's values: text goes out as it is, all else as JSON.

    Raises:
        ExchangeError: of `kind`, where the body cannot be written.
    """
    media_type = headers.pop("content-type", None)
    if body is ABSENT or status in NO_BODY:
        return Response(status, tuple(headers.items()), EMPTY)
    content = _content(body, media_type)
    write(content, kind, "the answer")
    return Response(status, tuple(headers.items()), content)


def _content(body: Any, media_type: str | None) -> Content:
    if type(body) is str and (media_type is None or not is_json(media_type)):
        return Content(body.encode("utf-8", "replace"), media_type or TEXT)
    content = Content.json(body)
    content.media_type = media_type or JSON
    return content


def status_of(value: Any, kind: str) -> int:
    """An answer's status from a template's value.

    Raises:
        ExchangeError: of `kind`, where it is no status of a final answer.
    """
    if type(value) is int and 200 <= value <= 599:
        return value
    raise ExchangeError(kind, "the answer has no valid status")
