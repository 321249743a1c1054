"""Failures → `ExchangeError` → a response in the client's error format.

Contract: every failure has a response: if the mapping's `errors` fail, the default format is used. If an
upstream rejects the credentials of the mapping, the error is not the client's, and the client does not see
the upstream's body.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange.evaluation import evaluate, write
from engine.exchange.exchange import Exchange
from engine.exchange.headers import header_fields, is_valid_field_value
from engine.exchange.output_limits import check_size
from engine.exchange.response_content import make_response, status_of
from engine.exchange.upstream_error_text import error_text, log_text
from engine.http.fields import joined
from engine.http.messages import CompleteResponse, Content, UpstreamRequest, UpstreamResponse
from engine.language.codegen import Compiled
from engine.language.stream_state import release_all
from engine.plan import ErrorsPlan, MappingPlan
from engine.values import ABSENT, JsonError

_MAX_BODY_TEXT: Final = 8192
_MAX_PATH: Final = 256
_MASK: Final = b"***"

#: Statuses of upstreams that are forwarded to the client, and their kinds; all others become 502.
_FORWARDED_KINDS: Final = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    413: "payload_too_large",
    422: "unprocessable",
    429: "rate_limited",
    503: "upstream_unavailable",
}


#: Header fields that are forwarded with these statuses.
_FORWARDED_FIELDS: Final = {
    401: ("www-authenticate",),
    429: ("retry-after",),
    503: ("retry-after",),
}


# --- Failures --------------------------------------------------------------------------------------------


def too_large(limit: int) -> ExchangeError:
    """The error for a client's body that is larger than the route accepts."""
    return ExchangeError("payload_too_large", f"the body is larger than {limit} bytes")


def upstream_status_error(exchange: Exchange) -> ExchangeError:
    """The error for the failed upstream response of an exchange."""
    assert exchange.upstream_response is not None
    return error_of_response(exchange.upstream, exchange.upstream_response)


def error_of_response(upstream: str | None, response: UpstreamResponse) -> ExchangeError:
    """The error for an upstream response with a status outside 2xx.

    If the call carried credentials of the mapping, 401 and 403 concern these and are `upstream_error`, as is
    every status without a kind of its own.
    """
    kind = (
        "upstream_error"
        if _concerns_own_credentials(response)
        else _FORWARDED_KINDS.get(response.status, "upstream_error")
    )
    names = _FORWARDED_FIELDS.get(response.status, ()) if kind != "upstream_error" else ()
    fields = (field for field in response.headers if field[0] in names and is_valid_field_value(field[1]))
    # Name the upstream: its 404 does not mean that the path requested by the client is unknown.
    named = f"the upstream '{upstream}'" if response.status == 404 else "the upstream"
    body = visible_body(response)
    return ExchangeError(
        kind,
        f"{named} returned status {response.status}",
        headers=tuple(joined(fields).items()),
        upstream=_upstream_object(upstream, response.status, body, error_text(response.status, body)),
        cause=log_text(body) if response.status >= 500 else None,
    )


def no_route(upstream: str, mapping: str, request: UpstreamRequest, path: str) -> ExchangeError:
    """The error for a call to another mapping that has no route for the path: a mistake in the calling
    mapping, unless the client chose the path."""
    is_clients = request.client is not None and request.client.chose_path
    return ExchangeError(
        "not_found" if is_clients else "upstream_error",
        f"the mapping '{mapping}' has no route for {request.method} {path[:_MAX_PATH]}",
        upstream=_upstream_object(upstream, 404),
        cause=f"no matching route in the mapping '{mapping}'",
    )


def unusable_response(exchange: Exchange, message: str, cause: str) -> ExchangeError:
    """The error for an upstream response that cannot be used."""
    return ExchangeError("upstream_error", message, upstream=_upstream_without_body(exchange), cause=cause)


def visible_body(response: UpstreamResponse) -> Any:
    """The body of a failed upstream response as mappings see it: None if it concerns the mapping's
    credentials, else with secrets masked."""
    if _concerns_own_credentials(response) or response.content.is_empty:
        return None
    content = _masked(response)
    try:
        return content.value
    except JsonError:
        return content.data[:_MAX_BODY_TEXT].decode("utf-8", "replace")


def _masked(response: UpstreamResponse) -> Content:
    content = response.content
    for secret in response.secrets:
        if secret in content.data:
            content = Content(content.data.replace(secret, _MASK), content.media_type)
    return content


def _concerns_own_credentials(response: UpstreamResponse) -> bool:
    return response.status in (401, 403) and response.used_own_credentials


def _upstream_without_body(exchange: Exchange) -> dict[str, Any]:
    return _upstream_object(exchange.upstream, exchange.status)


def _upstream_object(
    name: str | None, status: int | None, body: Any = None, message: str | None = None
) -> dict[str, Any]:
    """`upstream` in the payload of `errors`."""
    return {"name": name, "status": status, "body": body, "message": message}


# --- Error format ----------------------------------------------------------------------------------------


def error_response(mapping: MappingPlan | None, exchange: Exchange, error: ExchangeError) -> CompleteResponse:
    """The response for an error, in the mapping's error format; without a mapping, or if that fails, in the
    default format."""
    errors = mapping.errors if mapping is not None else ErrorsPlan()
    payload = _payload(exchange, error)
    exchange.reserve()
    try:
        return _formatted(errors, payload, exchange, error)
    except ExchangeError as second:
        exchange.warn(f"the mapping's 'errors' failed: {second.cause or second.message}")
        return _formatted(ErrorsPlan(), payload, exchange, error)


def in_band_error(
    mapping: MappingPlan, exchange: Exchange, error: ExchangeError, rules: Compiled | None
) -> list[Any]:
    """The events for an error after the first event, which can be written: from the stream's own rules, or
    from the body of `errors` if there are no rules or they fail."""
    release_all(exchange)
    if rules is not None:
        exchange.out = []
        exchange.reserve()
        try:
            evaluate(rules, _payload(exchange, error), exchange, "internal")
            for event in exchange.out:
                write(Content.json(event), "internal", "an event")
            return exchange.out
        except ExchangeError as second:
            exchange.warn(f"the stream's rules for errors failed: {second.cause or second.message}")
    content = error_response(mapping, exchange, error).content
    if content.is_empty:
        return []
    try:
        return [content.value]
    except JsonError:
        return [content.data.decode("utf-8", "replace")]


def _payload(exchange: Exchange, error: ExchangeError) -> dict[str, Any]:
    return {
        "kind": error.kind,
        "status": error.status,
        "message": error.message,
        "details": error.details,
        "upstream": error.upstream or _upstream_without_body(exchange),
        "request_id": exchange.inbound.request_id,
    }


def _formatted(
    errors: ErrorsPlan, payload: dict[str, Any], exchange: Exchange, error: ExchangeError
) -> CompleteResponse:
    status = _status(errors, payload, exchange, error)
    headers = dict(error.headers)
    headers.update(header_fields(errors.headers, payload, exchange, "internal"))
    if errors.body is None:
        body: Any = {"error": {"message": error.message, "type": error.kind, "param": None, "code": None}}
    else:
        body = evaluate(errors.body, payload, exchange, "internal")
        check_size(exchange, errors.body, body, "internal")
    return make_response(status, headers, body, "internal")


def _status(errors: ErrorsPlan, payload: dict[str, Any], exchange: Exchange, error: ExchangeError) -> int:
    if isinstance(errors.status, Compiled):
        status = evaluate(errors.status, payload, exchange, "internal")
        return error.status if status is ABSENT else status_of(status, "internal")
    is_upstreams = error.kind.startswith("upstream_")
    return errors.status if errors.status is not None and is_upstreams else error.status
