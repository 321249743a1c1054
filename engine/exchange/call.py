"""The client's request → the call of its route: target, header fields and body.

Contract: a client's values fill the places that the mapping has for them and lead nowhere else: not out of
the path, not to another host, not into framing, and never over the upstream's credentials.
All that fails here is the client's fault.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

from engine.codegen import Compiled
from engine.errors import ExchangeError, call_failed
from engine.exchange.evaluation import evaluate, text_of, write
from engine.exchange.headers import REQUEST_ID_HEADER, header_fields
from engine.http import literal_path
from engine.messages import EMPTY, FORM, Content, Exchange, UpstreamRequest
from engine.plan import AttemptPlan, CallPlan, PathPart, RoutePlan, UpstreamChoice, UpstreamPlan
from engine.values import ABSENT, text, truth, type_name

_KIND: Final = "invalid_request"
_MAX_TARGET: Final = 8192
_NO_ENCODING = re.compile(r"%(?![0-9A-Fa-f]{2})|[^\x21-\x7e]")
_SLASH = re.compile(r"[/\\]")


def chosen_call(attempt: AttemptPlan, exchange: Exchange) -> CallPlan | None:
    """The first call of an attempt whose `when` holds; None where none is to be made."""
    for call in attempt.calls:
        if is_made(call, exchange):
            return call
    return None


def is_made(call: CallPlan, exchange: Exchange) -> bool:
    """Whether a call's `when` holds."""
    return call.when is None or truth(evaluate(call.when, exchange.body, exchange, _KIND))


def chosen_upstream(
    upstream: UpstreamPlan | UpstreamChoice, payload: Any, exchange: Exchange
) -> UpstreamPlan:
    """The upstream of a call.

    Raises:
        ExchangeError: `invalid_request`, where the request names none that is declared.
    """
    if isinstance(upstream, UpstreamPlan):
        return upstream
    name = evaluate(upstream.template, payload, exchange, _KIND)
    found = upstream.among.get(name) if isinstance(name, str) else None
    if found is None:
        raise ExchangeError(_KIND, "no upstream serves this request")
    return found


def build_request(
    route: RoutePlan, call: CallPlan, upstream: UpstreamPlan, exchange: Exchange, payload: Any
) -> UpstreamRequest:
    """A call of a route, from the client's body or, among calls for a list, from an item of that.

    Raises:
        ExchangeError: `invalid_request`, where the client's values cannot be translated.
    """
    exchange.upstream = upstream.name
    headers = _headers(call, upstream, exchange, payload)
    content = _content(call, upstream, exchange, payload)
    query = _query(call, upstream, exchange, payload)
    if content.media_type:
        headers.setdefault("content-type", content.media_type)
    return UpstreamRequest(
        upstream=upstream.name,
        method=call.method,
        target=build_target(upstream, call.path, query, exchange, payload),
        headers=tuple(headers.items()),
        content=content,
        timeout=time_left(route, exchange, call.timeout, upstream),
        max_bytes=call.max_bytes,
    )


def time_left(route: RoutePlan, exchange: Exchange, timeout: float | None, upstream: UpstreamPlan) -> float:
    """How many seconds a call may take, of those that are left to its route.

    Raises:
        ExchangeError: `upstream_timeout`, where none are.
    """
    left = upstream.timeouts.total
    if timeout is not None and timeout < left:
        left = timeout
    if route.timeout is not None:
        left = min(left, route.timeout - (time.monotonic_ns() - exchange.started_ns) / 1e9)
    if left <= 0:
        raise call_failed(upstream.name, "timeout", "the route's time is over")
    return left


# --- Header fields and body ------------------------------------------------------------------------------


def _headers(call: CallPlan, upstream: UpstreamPlan, exchange: Exchange, payload: Any) -> dict[str, str]:
    headers = {REQUEST_ID_HEADER: exchange.inbound.request_id, **upstream.fields}
    if call.headers is not None:
        headers |= header_fields(call.headers, payload, exchange, _KIND)
        headers.update(upstream.credentials.headers)
    return headers


def _content(call: CallPlan, upstream: UpstreamPlan, exchange: Exchange, payload: Any) -> Content:
    if call.form is not None:
        return Content(urlencode(list(_pairs(call.form, exchange, payload))).encode(), FORM)
    if call.body is None:
        return EMPTY
    body = evaluate(call.body, payload, exchange, _KIND)
    if body is ABSENT:
        return EMPTY
    content = Content.json(body)
    if upstream.mapping is None:
        write(content, _KIND, "the request")
    return content


def _pairs(template: Compiled | None, exchange: Exchange, payload: Any) -> Iterator[tuple[str, str]]:
    """Fields of a query or form; a list repeats one, null leaves it out."""
    fields = None if template is None else evaluate(template, payload, exchange, _KIND)
    if not isinstance(fields, dict):
        return
    for name, value in fields.items():
        for item in value if type(value) is list else (value,):
            if item is not None:
                yield name, text_of(item, _KIND)


# --- Path and query --------------------------------------------------------------------------------------


def build_target(
    upstream: UpstreamPlan, path: tuple[PathPart, ...], query: str, exchange: Exchange, payload: Any
) -> str:
    """What stands on the request line: the path with its values percent-encoded, and the query.

    Raises:
        ExchangeError: `invalid_request`, where a value could lead elsewhere, or it is too long.
    """
    written = upstream.base_path + "".join([_path_part(part, exchange, payload) for part in path])
    if len(path) > 1 and _leads_elsewhere(written):
        raise ExchangeError(_KIND, "a value in the path is '.', '..' or an empty segment")
    target = f"{written}?{query}" if query else written
    if len(target) > _MAX_TARGET:
        raise ExchangeError(_KIND, "the values for the path are too long")
    return target


def _query(call: CallPlan, upstream: UpstreamPlan, exchange: Exchange, payload: Any) -> str:
    credentials = upstream.credentials.query
    if call.query is None and not credentials:
        return ""
    names = {name for name, _ in credentials}
    pairs = (pair for pair in _pairs(call.query, exchange, payload) if pair[0] not in names)
    return urlencode([*pairs, *credentials])


def _path_part(part: PathPart, exchange: Exchange, payload: Any) -> str:
    if part.template is None:
        return part.text
    value = evaluate(part.template, payload, exchange, _KIND)
    if value is ABSENT or value == "" or isinstance(value, dict | list):
        what = "nothing" if value is ABSENT or value == "" else type_name(value)
        raise ExchangeError(_KIND, f"a value for the path is {what}, where text is needed")
    try:
        if part.parameter:
            return _as_it_came(exchange.raw_params.get(part.parameter, ""), text(value))
        return quote(text(value), safe="")
    except UnicodeEncodeError:
        raise ExchangeError(_KIND, "a value for the path is no valid text") from None


def _as_it_came(raw: str, decoded: str) -> str:
    """A piece of the client's own path: `%2F` in it stays what it is, and what is no percent-encoding is
    encoded."""
    if _NO_ENCODING.search(raw):
        return quote(decoded, safe="/")
    return literal_path(raw)


def _leads_elsewhere(path: str) -> bool:
    """Whether an upstream could take a part of the path for '.' or '..', or its beginning for a host: after
    decoding it up to twice, with '\\' for a slash, or with the parameters that Java's servers cut off."""
    if "." not in path and "%" not in path and "//" not in path:
        return False
    for _ in range(3):
        segments = _SLASH.split(path)
        if segments[1:2] == [""] and len(segments) > 2:
            return True
        if any(segment.partition(";")[0] in (".", "..") for segment in segments):
            return True
        path = unquote(path)
    return False
