"""Header fields from templates, and the header fields that every response has.

Contract: names are in lower case, and no name or value can end a header or start another. Header fields of
framing and routing in a template are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange.evaluation import evaluate
from engine.exchange.exchange import Exchange
from engine.exchange.output_limits import MAX_HEAD, bounded_text, output_error, take_output
from engine.exchange.reports import calls_header, dropped_header
from engine.http.fields import FRAMING_FIELDS
from engine.http.messages import Headers
from engine.language.codegen import Compiled, first_location
from engine.plan import RoutePlan

DROPPED_HEADER: Final = "x-dragoman-dropped"
UPSTREAM_HEADER: Final = "x-dragoman-upstream"
REQUEST_ID_HEADER: Final = "x-request-id"

_MAX_HEADER: Final = 8192
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,256}\Z")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")


def header_fields(template: Compiled | None, payload: Any, exchange: Exchange, kind: str) -> dict[str, str]:
    """Header fields from a template.

    Raises:
        ExchangeError: of `kind`, if a name or value is not valid in a header, or the header is too large.
    """
    if template is None:
        return {}
    value = evaluate(template, payload, exchange, kind)
    try:
        fields = _written_fields(template, value, exchange, kind)
    except ExchangeError as error:
        error.cause = error.cause or f"{first_location(template)}: {error.message}"
        raise
    if fields:
        size = sum(len(name) + len(text) for name, text in fields.items())
        take_output(exchange, template, size, kind)
    return fields


def _written_fields(template: Compiled, value: Any, exchange: Exchange, kind: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    size = 0
    for key, item in _present(value):
        name = _field_name(key, kind)
        if name not in FRAMING_FIELDS:
            fields[name] = written = _field_value(name, bounded_text(exchange, template, item, kind), kind)
            size += len(name) + len(written)
            if size > MAX_HEAD:
                raise output_error(template, f"its header fields exceed {MAX_HEAD} bytes", kind)
    return fields


def extra_headers(exchange: Exchange, route: RoutePlan | None) -> Headers:
    """The headers that every response has in addition to its own: the request ID, the fields that were not
    carried over and, if there were several calls, the upstreams that were called."""
    headers = [(REQUEST_ID_HEADER, exchange.inbound.request_id)]
    if exchange.dropped or exchange.inner_dropped:
        headers.append((DROPPED_HEADER, dropped_header(exchange)))
    if exchange.tried and (len(exchange.tried) > 1 or (route is not None and route.spec.try_)):
        headers.append((UPSTREAM_HEADER, calls_header(exchange)))
    return tuple(headers)


def is_valid_field_value(value: str) -> bool:
    """Whether text contains only characters that are allowed in a field value."""
    return _FIELD_VALUE.match(value) is not None


def _present(value: Any) -> Iterable[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else ()
    return ((name, item) for name, item in items if item is not None)


def _field_name(name: str, kind: str) -> str:
    name = name.lower()
    if not _FIELD_NAME.match(name):
        raise ExchangeError(kind, "invalid header name")
    return name


def _field_value(name: str, written: str, kind: str) -> str:
    if len(written) > _MAX_HEADER or not is_valid_field_value(written):
        raise ExchangeError(kind, f"invalid value for the header '{name}'")
    return written.strip()
