"""Pass-through: a request is forwarded to an upstream unchanged, and its response to the client.

Contract: bodies are not parsed. Hop-by-hop header fields are not forwarded (RFC 9110, 7.6.1). The client's
credentials are not sent to the upstream, which receives its own; response fields about these are removed. A
body that is part of the authentication is buffered in memory first. Fields that reveal the client
(`X-Forwarded-For`) are forwarded from trusted proxies only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from engine.exchange.call import build_target, client_of, select_upstream, time_left
from engine.exchange.effects import Effects, OpenBody, Release
from engine.exchange.errors import error_of_response
from engine.exchange.event_stream import Response
from engine.exchange.exchange import Exchange
from engine.exchange.headers import REQUEST_ID_HEADER, header_fields
from engine.exchange.retry import send
from engine.http.fields import FRAMING_FIELDS, hyphenated, reveals_client
from engine.http.messages import (
    EMPTY,
    ByteStreamResponse,
    CompleteResponse,
    Content,
    Headers,
    UpstreamRequest,
    UpstreamResponse,
)
from engine.plan import ForwardPlan, MappingPlan, RoutePlan, UpstreamPlan

_KIND: Final = "invalid_request"

#: Hop-by-hop fields (RFC 9110, 7.6.1), and those of framing.
_HOP_BY_HOP: Final = FRAMING_FIELDS - {"host"} | {"proxy-authenticate", "proxy-authorization"}
#: Request fields that concern only the client and this server.
_NOT_SENT: Final = frozenset(("host", "authorization", "expect", REQUEST_ID_HEADER))
#: Statuses and response fields about the credentials of a request.
_ABOUT_CREDENTIALS: Final = (401, 403)
_OF_CREDENTIALS: Final = ("www-authenticate", "authentication-info")


def forward(
    mapping: MappingPlan, route: RoutePlan, plan: ForwardPlan, exchange: Exchange
) -> Effects[Response]:
    """Forward the client's request; the response is forwarded unchanged, whatever its status.

    Raises:
        ExchangeError: the upstream does not respond, or rejects credentials that are not the client's.
    """
    upstream = select_upstream(plan.upstream, exchange.body, exchange)
    exchange.upstream = upstream.name
    request = _request(mapping, route, plan, upstream, exchange)
    if not (route.reads_body or route.buffers_body):
        request.body = yield from OpenBody(route.max_forwarded)
    exchange.upstream_response = response = yield from send(mapping, upstream, request, exchange, True)
    if response.status in _ABOUT_CREDENTIALS and request.has_credentials:
        yield from Release(response.source)
        raise error_of_response(upstream.name, response)
    return _outbound(response, request.has_credentials)


def is_refusal(response: Response) -> bool:
    """Whether a response means that the upstream did not perform the request; a 304 is the response to a
    conditional request (RFC 9110, 15.4.5)."""
    return not 200 <= response.status < 300 and response.status != 304


def _request(
    mapping: MappingPlan, route: RoutePlan, plan: ForwardPlan, upstream: UpstreamPlan, exchange: Exchange
) -> UpstreamRequest:
    inbound, payload = exchange.inbound, exchange.body
    return UpstreamRequest(
        upstream=upstream.name,
        method=inbound.method,
        target=build_target(upstream, plan.path, inbound.query, exchange, payload),
        headers=tuple(_headers(plan, upstream, exchange, mapping.keys.header).items()),
        content=Content(inbound.content.data, "") if route.reads_body or route.buffers_body else EMPTY,
        timeout=time_left(route, exchange, plan.timeout, upstream),
        raw=True,
        client=client_of(upstream, plan.path, exchange),
        has_credentials=upstream.has_credentials or plan.has_credentials,
    )


def _headers(
    plan: ForwardPlan, upstream: UpstreamPlan, exchange: Exchange, key_header: str
) -> dict[str, str]:
    inbound = exchange.inbound
    headers: dict[str, str] = {}
    own = (name for name, _ in upstream.headers)
    not_sent = {*_NOT_SENT, *map(hyphenated, (key_header, *plan.replaced, *own))}
    for name, value in end_to_end(inbound.headers):
        like = hyphenated(name)
        if like not in not_sent and (inbound.is_proxied or not reveals_client(like)):
            separator = "; " if name == "cookie" else ", "
            headers[name] = f"{headers[name]}{separator}{value}" if name in headers else value
    headers[REQUEST_ID_HEADER] = inbound.request_id
    headers.update(upstream.headers)
    if plan.headers is not None:
        headers.update(header_fields(plan.headers, exchange.body, exchange, _KIND))
    return headers


def end_to_end(headers: Headers) -> Iterable[tuple[str, str]]:
    """End-to-end header fields: without hop-by-hop fields and those that `Connection` lists."""
    listed = {
        name.strip().lower() for key, value in headers if key == "connection" for name in value.split(",")
    }
    return ((name, value) for name, value in headers if name not in _HOP_BY_HOP and name not in listed)


def _outbound(response: UpstreamResponse, has_credentials: bool) -> Response:
    """The upstream's response for the client, without the fields about our credentials."""
    media_type = response.header("content-type") or ""
    left_out = {"content-type", "date", *(_OF_CREDENTIALS if has_credentials else ())}
    headers = tuple(field for field in end_to_end(response.headers) if field[0] not in left_out)
    date = response.header("date")
    if date is not None:
        headers = (*headers, ("date", date))
    length = response.header("content-length")
    if response.source is not None and length is not None and length.isdigit():
        headers = (*headers, ("content-length", length))
    if response.source is None:
        return CompleteResponse(response.status, headers, Content(response.content.data, media_type))
    return ByteStreamResponse(response.status, headers, media_type, response.source)
