"""What failed → an `ExchangeError` → an answer in the client's dialect.

Contract: every failure has an answer: where the mapping's own errors fail, it is told in a plain form. An
upstream's refusal of our credentials is never told as the client's fault, nor is its body shown.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange.evaluation import evaluate, write
from engine.exchange.exchange import Exchange
from engine.exchange.headers import can_stand_in_header, header_fields
from engine.exchange.output_limits import check_size
from engine.exchange.response_content import outbound_of, status_of
from engine.exchange.upstream_error_text import error_text, log_text
from engine.http.fields import joined
from engine.http.messages import Content, Response, UpstreamRequest, UpstreamResponse
from engine.language.codegen import Compiled
from engine.language.stream_state import release_all
from engine.plan import ErrorsPlan, MappingPlan
from engine.values import ABSENT, JsonError

_MAX_SHOWN: Final = 8192
_MAX_PATH: Final = 256
_MASK: Final = b"***"

#: An upstream's refusals that are the client's to hear of, and their kinds (all others are ours: 502).
_PASSED_ON: Final = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    413: "payload_too_large",
    422: "unprocessable",
    429: "rate_limited",
    503: "upstream_unavailable",
}


#: The header fields that go with these statuses.
_FIELDS_PASSED_ON: Final = {
    401: ("www-authenticate",),
    429: ("retry-after",),
    503: ("retry-after",),
}


# --- What failed -----------------------------------------------------------------------------------------


def too_large(limit: int) -> ExchangeError:
    """The client's body exceeds what the route takes."""
    return ExchangeError("payload_too_large", f"the body is larger than {limit} bytes")


def failure_of(exchange: Exchange) -> ExchangeError:
    """The failure that the status of the upstream's answer is."""
    assert exchange.upstream_response is not None
    return error_of_response(exchange.upstream, exchange.upstream_response)


def error_of_response(upstream: str | None, response: UpstreamResponse) -> ExchangeError:
    """The failure that an upstream's status outside 2xx is.

    Where the call carried credentials of ours, 401 and 403 are about these: they and whatever has no kind of
    its own are `upstream_error`.
    """
    kind = "upstream_error" if _is_about_us(response) else _PASSED_ON.get(response.status, "upstream_error")
    names = _FIELDS_PASSED_ON.get(response.status, ()) if kind != "upstream_error" else ()
    fields = (field for field in response.headers if field[0] in names and can_stand_in_header(field[1]))
    # That it does not know a path says nothing of the path that its client asked for.
    named = f"the upstream '{upstream}'" if response.status == 404 else "the upstream"
    body = shown_body(response)
    return ExchangeError(
        kind,
        f"{named} answered with status {response.status}",
        headers=tuple(joined(fields).items()),
        upstream=_upstream(upstream, response.status, body, error_text(response.status, body)),
        cause=log_text(body) if response.status >= 500 else None,
    )


def no_route(upstream: str, mapping: str, request: UpstreamRequest, path: str) -> ExchangeError:
    """The failure of a call to another mapping that serves no such path: a mistake of the calling mapping,
    unless its client chose the path."""
    is_clients = request.client is not None and request.client.chose_path
    return ExchangeError(
        "not_found" if is_clients else "upstream_error",
        f"the mapping '{mapping}' serves no {request.method} {path[:_MAX_PATH]}",
        upstream=_upstream(upstream, 404),
        cause=f"no route of the mapping '{mapping}'",
    )


def unusable_response(exchange: Exchange, message: str, cause: str) -> ExchangeError:
    """The failure that an upstream's answer is which cannot be read."""
    return ExchangeError("upstream_error", message, upstream=_bodiless(exchange), cause=cause)


def shown_body(response: UpstreamResponse) -> Any:
    """What mappings may see of a failed upstream's body: nothing where it speaks of our credentials, and no
    secret."""
    if _is_about_us(response) or response.content.is_empty:
        return None
    content = _masked(response)
    try:
        return content.value
    except JsonError:
        return content.data[:_MAX_SHOWN].decode("utf-8", "replace")


def _masked(response: UpstreamResponse) -> Content:
    content = response.content
    for secret in response.secrets:
        if secret in content.data:
            content = Content(content.data.replace(secret, _MASK), content.media_type)
    return content


def _is_about_us(response: UpstreamResponse) -> bool:
    return response.status in (401, 403) and response.is_about_us


def _bodiless(exchange: Exchange) -> dict[str, Any]:
    return _upstream(exchange.upstream, exchange.status)


def _upstream(
    name: str | None, status: int | None, body: Any = None, message: str | None = None
) -> dict[str, Any]:
    """What the errors of a mapping see of the upstream."""
    return {"name": name, "status": status, "body": body, "message": message}


# --- How it is told --------------------------------------------------------------------------------------


def build_error(mapping: MappingPlan | None, exchange: Exchange, error: ExchangeError) -> Response:
    """A failure as its client is told of it, in the mapping's dialect or, without one, in a plain form."""
    errors = mapping.errors if mapping is not None else ErrorsPlan()
    payload = _payload(exchange, error)
    exchange.reserve()
    try:
        return _told(errors, payload, exchange, error)
    except ExchangeError as second:
        exchange.warn(f"the errors of the mapping failed: {second.cause or second.message}")
        return _told(ErrorsPlan(), payload, exchange, error)


def in_band_error(
    mapping: MappingPlan, exchange: Exchange, error: ExchangeError, rules: Compiled | None
) -> list[Any]:
    """An error after the first event, as events that can be written: by the stream's own rules, or the body
    of `errors` where there are none, or they fail."""
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
            exchange.warn(f"the rules for an error failed: {second.cause or second.message}")
    content = build_error(mapping, exchange, error).content
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
        "upstream": error.upstream or _bodiless(exchange),
        "request_id": exchange.inbound.request_id,
    }


def _told(errors: ErrorsPlan, payload: dict[str, Any], exchange: Exchange, error: ExchangeError) -> Response:
    status = _status(errors, payload, exchange, error)
    headers = dict(error.headers)
    headers.update(header_fields(errors.headers, payload, exchange, "internal"))
    if errors.body is None:
        body: Any = {"error": {"message": error.message, "type": error.kind, "param": None, "code": None}}
    else:
        body = evaluate(errors.body, payload, exchange, "internal")
        check_size(exchange, errors.body, body, "internal")
    return outbound_of(status, headers, body, "internal")


def _status(errors: ErrorsPlan, payload: dict[str, Any], exchange: Exchange, error: ExchangeError) -> int:
    if isinstance(errors.status, Compiled):
        status = evaluate(errors.status, payload, exchange, "internal")
        return error.status if status is ABSENT else status_of(status, "internal")
    is_upstreams = error.kind.startswith("upstream_")
    return errors.status if errors.status is not None and is_upstreams else error.status
