"""The client's request → the call of its route: target, header fields and body.

Contract: a client's values appear only where the mapping inserts them: they cannot change the rest of the
path, the host or the framing. The upstream's credentials are added when a call is sent. Errors raised here
are the client's or, if an earlier call returned the value, an upstream's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

from engine.errors import ExchangeError, call_failed
from engine.exchange.evaluation import evaluate, write
from engine.exchange.exchange import Exchange
from engine.exchange.headers import REQUEST_ID_HEADER, header_fields
from engine.exchange.output_limits import bounded_text, check_size, output_error, take_output
from engine.http.media_types import is_json
from engine.http.messages import EMPTY, FORM, JSON, Client, Content, UpstreamRequest
from engine.http.request_target import literal_path, readings
from engine.language.codegen import Compiled, first_location
from engine.plan import AttemptPlan, CallPlan, PathPart, RoutePlan, UpstreamChoice, UpstreamPlan
from engine.values import ABSENT, text, truth, type_name

_KIND: Final = "invalid_request"
_MAX_TARGET: Final = 8192
#: `$calls.NAME` without a result, to determine whether an error is the client's or an upstream's.
_NOTHING: Final[dict[str, Any]] = dict.fromkeys(("status", "headers", "body", "error"))
_NO_ENCODING = re.compile(r"%(?![0-9A-Fa-f]{2})|[^\x21-\x7e]")


def select_call(attempt: AttemptPlan, exchange: Exchange) -> CallPlan | None:
    """The first call of an attempt whose `when` holds; None if there is none."""
    for call in attempt.calls:
        if is_made(call, exchange):
            return call
    return None


def is_made(call: CallPlan, exchange: Exchange) -> bool:
    """Whether a call's `when` holds."""
    return call.when is None or truth(evaluate(call.when, exchange.body, exchange, call.kind("when")))


def select_upstream(
    upstream: UpstreamPlan | UpstreamChoice, payload: Any, exchange: Exchange
) -> UpstreamPlan:
    """The upstream of a call.

    Raises:
        ExchangeError: `invalid_request`, where the request names none that is declared; `upstream_error`,
            where what an earlier call returned names it.
    """
    if isinstance(upstream, UpstreamPlan):
        return upstream
    name = evaluate(upstream.template, payload, exchange, upstream.kind)
    found = upstream.candidates.get(name) if isinstance(name, str) else None
    if found is None:
        cause = f"{first_location(upstream.template)}: does not name an upstream"
        raise ExchangeError(upstream.kind, "no upstream serves this request", cause=cause)
    return found


def build_request(
    route: RoutePlan, call: CallPlan, upstream: UpstreamPlan, exchange: Exchange, payload: Any
) -> UpstreamRequest:
    """The request of a call, from the client's body or, for one of parallel calls, from an item of a list.

    Raises:
        ExchangeError: `invalid_request` if the client's values cannot be translated; `upstream_error` if
            those of an earlier call cannot.
    """
    exchange.upstream = upstream.name
    part, step = "headers", cast("_Step", _headers)
    try:
        headers = _headers(call, upstream, exchange, payload)
        part, step = "body" if call.form is None else "form", _content
        content = _content(call, upstream, exchange, payload)
        part, step = "query", _query
        query = _query(call, upstream, exchange, payload)
    except ExchangeError as error:
        if call.needs and error.cause is not None:  # `fail()` has none
            _blame_upstream(part, step, error, call, upstream, exchange, payload)
        raise
    media_type = content.media_type
    if media_type and headers.setdefault("content-type", media_type) is not media_type:
        content = _as_declared(content, headers["content-type"])
    return UpstreamRequest(
        upstream=upstream.name,
        method=call.method,
        target=build_target(upstream, call.path, query, exchange, payload),
        headers=tuple(headers.items()),
        content=content,
        timeout=time_left(route, exchange, call.timeout, upstream),
        has_credentials=upstream.has_credentials or call.has_credentials,
        client=client_of(upstream, call.path, exchange),
        max_bytes=call.max_bytes,
    )


def client_of(upstream: UpstreamPlan, path: tuple[PathPart, ...], exchange: Exchange) -> Client | None:
    """The client on whose behalf another mapping is called; None for an upstream that is a server."""
    if upstream.mapping is None:
        return None
    return Client(exchange.inbound.key, any(part.parameter for part in path))


#: Builds a part of a call; the last argument is the kind of error that it raises.
_Step = Callable[[CallPlan, UpstreamPlan, Exchange, Any, str], Any]


def _blame_upstream(
    part: str,
    step: _Step,
    error: ExchangeError,
    call: CallPlan,
    upstream: UpstreamPlan,
    exchange: Exchange,
    payload: Any,
) -> None:
    """Raise the error of a part of a call as an upstream's if an earlier call returned the value.

    If the part also reads the client's request, the error is the client's if it remains the same without the
    results of the calls.
    """
    warnings = len(exchange.warnings)
    if part in call.mixed:
        calls, exchange.calls = exchange.calls, dict.fromkeys(exchange.calls, _NOTHING)
        try:
            step(call, upstream, exchange, payload, _KIND)
        except ExchangeError as again:
            if (again.cause, again.message) == (error.cause, error.message):
                return
        finally:
            exchange.calls = calls
            del exchange.warnings[warnings:]
    elif part not in call.from_calls:
        return
    try:
        step(call, upstream, exchange, payload, "upstream_error")
    finally:
        del exchange.warnings[warnings:]


def time_left(route: RoutePlan, exchange: Exchange, timeout: float | None, upstream: UpstreamPlan) -> float:
    """The seconds that a call may take, within the remaining time of its route.

    Raises:
        ExchangeError: `upstream_timeout` if no time remains.
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


def _headers(
    call: CallPlan, upstream: UpstreamPlan, exchange: Exchange, payload: Any, kind: str = _KIND
) -> dict[str, str]:
    headers = {REQUEST_ID_HEADER: exchange.inbound.request_id, **upstream.fields}
    if call.headers is not None:
        headers |= header_fields(call.headers, payload, exchange, kind)
    return headers


def _content(
    call: CallPlan, upstream: UpstreamPlan, exchange: Exchange, payload: Any, kind: str = _KIND
) -> Content:
    if call.form is not None:
        return _form(call.form, exchange, payload, kind)
    if call.body is None:
        return EMPTY
    body = evaluate(call.body, payload, exchange, kind)
    if body is ABSENT:
        return EMPTY
    content = Content(None, JSON, body, check_size(exchange, call.body, body, kind))
    if upstream.mapping is None:
        take_output(exchange, call.body, len(write(content, kind, "the request")), kind)
    return content


def _as_declared(content: Content, media_type: str) -> Content:
    """A body with the Content-Type that the mapping sets: text is sent as text, unless the type is JSON."""
    if content.media_type != JSON or type(content.value) is not str or is_json(media_type):
        return content
    return Content(content.value.encode("utf-8", "replace"), media_type)


def _form(template: Compiled, exchange: Exchange, payload: Any, kind: str) -> Content:
    pairs = []
    for name, value in _pairs(template, exchange, payload, kind):
        take_output(exchange, template, len(name) + len(value) + 2, kind)
        pairs.append((name, value))
    return Content(_urlencoded(pairs, "form", kind).encode(), FORM)


def _pairs(template: Compiled, exchange: Exchange, payload: Any, kind: str) -> Iterator[tuple[str, str]]:
    """The fields of a query or form; a list repeats a field, null omits it."""
    fields = evaluate(template, payload, exchange, kind)
    for name, value in fields.items() if isinstance(fields, dict) else ():
        for item in value if type(value) is list else (value,):
            if item is not None:
                yield name, bounded_text(exchange, template, item, kind)


# --- Path and query --------------------------------------------------------------------------------------


def build_target(
    upstream: UpstreamPlan, path: tuple[PathPart, ...], query: str, exchange: Exchange, payload: Any
) -> str:
    """The target on the request line: the path with its values percent-encoded, and the query.

    Raises:
        ExchangeError: a value could change the path, cannot be part of a path, or is too long:
            `invalid_request` or, if an earlier call returned the value, `upstream_error`.
    """
    pieces = [_path_part(part, exchange, payload) for part in path]
    written = upstream.base_path + "".join(pieces)
    if len(path) > 1 and _leads_elsewhere(written):
        raise _bad_path(
            "a value in the path is '.', '..' or an empty segment", path, pieces, _leads_elsewhere
        )
    target = f"{written}?{query}" if query else written
    if len(target) > _MAX_TARGET:
        limit = _MAX_TARGET - len(upstream.base_path) - len(query)
        raise _bad_path("the values for the path are too long", path, pieces, lambda text: len(text) > limit)
    return target


def _bad_path(
    message: str, path: tuple[PathPart, ...], pieces: list[str], is_bad: Callable[[str], bool]
) -> ExchangeError:
    """The error of a complete path; an upstream's if the path is good without values of earlier calls."""
    own = ["x" if part.kind != _KIND else piece for part, piece in zip(path, pieces, strict=True)]
    kind = _KIND if is_bad("".join(own)) else "upstream_error"
    locations = [
        first_location(part.template) for part in path if part.template is not None and part.kind == kind
    ]
    return ExchangeError(kind, message, cause=f"{locations[0] if locations else 'path'}: {message}")


def _query(
    call: CallPlan, upstream: UpstreamPlan, exchange: Exchange, payload: Any, kind: str = _KIND
) -> str:
    if call.query is None:
        return ""
    pairs, left = [], _MAX_TARGET
    for name, value in _pairs(call.query, exchange, payload, kind):
        left -= len(name) + len(value)
        if left < 0:
            raise output_error(call.query, "the values of its query are too long", kind)
        pairs.append((name, value))
    return _urlencoded(pairs, "query", kind)


def _urlencoded(pairs: list[tuple[str, str]], what: str, kind: str) -> str:
    try:
        return urlencode(pairs)
    except UnicodeEncodeError:
        raise ExchangeError(kind, f"a value for the {what} has a lone surrogate") from None


def _path_part(part: PathPart, exchange: Exchange, payload: Any) -> str:
    if part.template is None:
        return part.text
    value = evaluate(part.template, payload, exchange, part.kind)
    if value is ABSENT or value is None or value == "" or isinstance(value, dict | list):
        raise _bad_value(part, f"is {_described(value)}, where text is needed")
    try:
        if part.parameter:
            return _raw_segment(exchange.raw_params.get(part.parameter, ""), text(value))
        return quote(text(value), safe="")
    except UnicodeEncodeError:
        raise _bad_value(part, "is no valid text") from None


def _described(value: Any) -> str:
    if value is ABSENT or value is None:
        return "null"
    return "empty" if value == "" else type_name(value)


def _bad_value(part: PathPart, why: str) -> ExchangeError:
    assert part.template is not None
    name = f", '{part.client_name}'," if part.client_name else ""
    cause = f"{first_location(part.template)}: the value of {part.written} in the path {why}"
    return ExchangeError(part.kind, f"a value for the path{name} {why}", cause=cause)


def _raw_segment(raw: str, decoded: str) -> str:
    """A parameter of the client's path with its percent-encoding unchanged, so that `%2F` stays encoded.

    If `raw` contains invalid percent-encoding or unencoded characters, the result is encoded from `decoded`.
    """
    if _NO_ENCODING.search(raw):
        return quote(decoded, safe="/")
    return literal_path(raw)


def _leads_elsewhere(path: str) -> bool:
    """Whether an upstream could read a part of the path as '.' or '..', or its beginning as a host."""
    if "." not in path and "%" not in path and "//" not in path:
        return False
    for segments in readings(path):
        if segments[1:2] == [""] and len(segments) > 2:
            return True
        if "." in segments or ".." in segments:
            return True
    return False
