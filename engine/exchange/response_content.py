"""Values of a template → a `Response`, for responses and errors.

Contract: the response can be sent: its status is valid and its body is encoded.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange.evaluation import write
from engine.http.media_types import is_json
from engine.http.messages import EMPTY, JSON, TEXT, CompleteResponse, Content
from engine.values import ABSENT

#: Statuses of responses without a body.
NO_BODY: Final = (204, 205, 304)


def make_response(status: int, headers: dict[str, str], body: Any, kind: str) -> CompleteResponse:
    """A response from a template's values: text is sent unchanged, other values as JSON.

    Raises:
        ExchangeError: of `kind`, if the body cannot be encoded.
    """
    media_type = headers.pop("content-type", None)
    if body is ABSENT or status in NO_BODY:
        return CompleteResponse(status, tuple(headers.items()), EMPTY)
    content = _content(body, media_type)
    write(content, kind, "the response")
    return CompleteResponse(status, tuple(headers.items()), content)


def _content(body: Any, media_type: str | None) -> Content:
    if type(body) is str and (media_type is None or not is_json(media_type)):
        return Content(body.encode("utf-8", "replace"), media_type or TEXT)
    content = Content.json(body)
    content.media_type = media_type or JSON
    return content


def status_of(value: Any, kind: str) -> int:
    """The status of a response from a template's value.

    Raises:
        ExchangeError: of `kind`, if it is not an integer from 200 to 599.
    """
    if type(value) is int and 200 <= value <= 599:
        return value
    raise ExchangeError(kind, "the response status is not valid")
