"""The client's request → the call of its route: target, header fields and body.

Contract: a client's values fill the places that the mapping has for them and lead nowhere else: not out of
the path, not to another host, not into framing, and never over the upstream's credentials.
All that fails here is the client's fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, unquote, urlencode

from engine.codegen import Compiled
from engine.errors import ExchangeError
from engine.exchange.evaluation import evaluate, text_of, write
from engine.exchange.headers import REQUEST_ID_HEADER, header_fields
from engine.messages import EMPTY, FORM, JSON, Content, Exchange, UpstreamRequest
from engine.plan import CallPlan, PathPart, RoutePlan
from engine.resources import distribution_version
from engine.values import ABSENT, text, truth, type_name

_KIND: Final = "invalid_request"
_MAX_TARGET: Final = 8192
_SLASH = re.compile(r"[/\\]")
_USER_AGENT: Final = f"dragoman/{distribution_version()}"


def chosen_call(route: RoutePlan, exchange: Exchange) -> CallPlan | None:
    """The first call of a route whose `when` holds; None where none is to be made."""
    for call in route.calls:
        if call.when is None or truth(evaluate(call.when, exchange.body, exchange, _KIND)):
            return call
    return None


def build_request(route: RoutePlan, call: CallPlan, exchange: Exchange) -> UpstreamRequest:
    """The call of a route.

    Raises:
        ExchangeError: `invalid_request`, where the client's values cannot be translated.
    """
    exchange.upstream = call.upstream.name
    headers = _headers(call, exchange)
    content = _content(call, exchange)
    if content.media_type:
        headers.setdefault("content-type", content.media_type)
    timeout = min(filter(None, (route.timeout, call.timeout, call.upstream.timeouts.total)))
    return UpstreamRequest(
        upstream=call.upstream.name,
        method=call.method,
        target=_target(call, exchange),
        headers=tuple(headers.items()),
        content=content,
        timeout=timeout,
    )


# --- Header fields and body ------------------------------------------------------------------------------


def _headers(call: CallPlan, exchange: Exchange) -> dict[str, str]:
    headers = {"user-agent": _USER_AGENT, "accept": JSON, "accept-encoding": "identity"}
    headers[REQUEST_ID_HEADER] = exchange.inbound.request_id
    headers.update(call.upstream.headers)
    headers.update(header_fields(call.headers, exchange.body, exchange, _KIND))
    headers.update(call.upstream.credentials.headers)
    return headers


def _content(call: CallPlan, exchange: Exchange) -> Content:
    if call.form is not None:
        return Content(urlencode(list(_pairs(call.form, exchange))).encode(), FORM)
    if call.body is None:
        return EMPTY
    body = evaluate(call.body, exchange.body, exchange, _KIND)
    if body is ABSENT:
        return EMPTY
    content = Content.json(body)
    if call.upstream.mapping is None:
        write(content, _KIND, "the request")
    return content


def _pairs(template: Compiled | None, exchange: Exchange) -> Iterator[tuple[str, str]]:
    """Fields of a query or form; a list repeats one, null leaves it out."""
    fields = None if template is None else evaluate(template, exchange.body, exchange, _KIND)
    if not isinstance(fields, dict):
        return
    for name, value in fields.items():
        for item in value if type(value) is list else (value,):
            if item is not None:
                yield name, text_of(item, _KIND)


# --- Path and query --------------------------------------------------------------------------------------


def _target(call: CallPlan, exchange: Exchange) -> str:
    path = call.upstream.base_path + "".join(_path_part(part, exchange) for part in call.path)
    if len(call.path) > 1 and _leads_elsewhere(path):
        raise ExchangeError(_KIND, "a value in the path is '.', '..' or an empty segment")
    query = urlencode(_query(call, exchange))
    target = f"{path}?{query}" if query else path
    if len(target) > _MAX_TARGET:
        raise ExchangeError(_KIND, "the values for the path are too long")
    return target


def _query(call: CallPlan, exchange: Exchange) -> list[tuple[str, str]]:
    credentials = call.upstream.credentials.query
    names = {name for name, _ in credentials}
    return [*(pair for pair in _pairs(call.query, exchange) if pair[0] not in names), *credentials]


def _path_part(part: PathPart, exchange: Exchange) -> str:
    if part.template is None:
        return part.text
    value = evaluate(part.template, exchange.body, exchange, _KIND)
    if value is ABSENT or value == "" or isinstance(value, dict | list):
        what = "nothing" if value is ABSENT or value == "" else type_name(value)
        raise ExchangeError(_KIND, f"a value for the path is {what}, where text is needed")
    try:
        return quote(text(value), safe="/" if part.keeps_slashes else "")
    except UnicodeEncodeError:
        raise ExchangeError(_KIND, "a value for the path is no valid text") from None


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
