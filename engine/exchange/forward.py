"""A request that goes through to an upstream as it is, and its answer back.

Contract: bytes are not looked at. Header fields that concern one connection stay on it (RFC 9110, 7.6.1), and
the client's credentials are not shown to the upstream, which is given its own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Final
from urllib.parse import urlencode

from engine.exchange.call import build_target, chosen_upstream, time_left
from engine.exchange.headers import REQUEST_ID_HEADER, header_fields
from engine.exchange.sending import send
from engine.exchange.steps import OpenBody, Step
from engine.http import FRAMING_FIELDS
from engine.messages import EMPTY, Content, Exchange, Headers, Outbound, UpstreamReply, UpstreamRequest
from engine.plan import ForwardPlan, MappingPlan, RoutePlan, UpstreamPlan

_KIND: Final = "invalid_request"

#: Fields of one connection (RFC 9110, 7.6.1), and those of framing.
_HOP_BY_HOP: Final = FRAMING_FIELDS - {"host"} | {"proxy-authenticate", "proxy-authorization"}
#: What is the client's and this server's own affair.
_NOT_SENT: Final = frozenset(("host", "authorization", "expect", REQUEST_ID_HEADER))


def forward(
    mapping: MappingPlan, route: RoutePlan, plan: ForwardPlan, exchange: Exchange
) -> Generator[Step, Any, Outbound]:
    """Send the client's request on; the answer is given back as it comes, whatever its status.

    Raises:
        ExchangeError: the upstream does not answer.
    """
    upstream = chosen_upstream(plan.upstream, exchange.body, exchange)
    exchange.upstream = upstream.name
    request = _request(mapping, route, plan, upstream, exchange)
    if not route.reads_body:
        request.body = yield OpenBody(route.max_forwarded)
    exchange.reply = reply = yield from send(mapping, upstream, request, exchange, True)
    return _outbound(reply)


def _request(
    mapping: MappingPlan, route: RoutePlan, plan: ForwardPlan, upstream: UpstreamPlan, exchange: Exchange
) -> UpstreamRequest:
    inbound, payload = exchange.inbound, exchange.body
    return UpstreamRequest(
        upstream=upstream.name,
        method=inbound.method,
        target=build_target(upstream, plan.path, _query(inbound.query, upstream), exchange, payload),
        headers=tuple(_headers(plan, upstream, exchange, mapping.keys.header).items()),
        content=Content(inbound.content.data, "") if route.reads_body else EMPTY,
        timeout=time_left(route, exchange, plan.timeout, upstream),
        raw=True,
    )


def _query(query: str, upstream: UpstreamPlan) -> str:
    """The client's query as it came, less the parameter of the upstream's key, which is its own."""
    credentials = upstream.credentials.query
    if not credentials:
        return query
    names = {urlencode([(name, "")])[:-1] for name, _ in credentials}
    kept = [pair for pair in query.split("&") if pair and pair.partition("=")[0] not in names]
    return "&".join([*kept, urlencode(credentials)])


def _headers(
    plan: ForwardPlan, upstream: UpstreamPlan, exchange: Exchange, key_header: str
) -> dict[str, str]:
    inbound = exchange.inbound
    headers: dict[str, str] = {}
    not_sent = {*_NOT_SENT, key_header, *plan.replaced}
    for name, value in end_to_end(inbound.headers):
        if name not in not_sent:
            separator = "; " if name == "cookie" else ", "
            headers[name] = f"{headers[name]}{separator}{value}" if name in headers else value
    headers[REQUEST_ID_HEADER] = inbound.request_id
    headers.update(upstream.headers)
    if plan.headers is not None:
        headers.update(header_fields(plan.headers, exchange.body, exchange, _KIND))
    headers.update(upstream.credentials.headers)
    return headers


def end_to_end(headers: Headers) -> Iterable[tuple[str, str]]:
    """Header fields without those of one connection, and those that `Connection` lists."""
    listed = {
        name.strip().lower() for key, value in headers if key == "connection" for name in value.split(",")
    }
    return ((name, value) for name, value in headers if name not in _HOP_BY_HOP and name not in listed)


def _outbound(reply: UpstreamReply) -> Outbound:
    """The upstream's answer, to be given back as it comes."""
    media_type = reply.header("content-type") or ""
    headers = tuple(field for field in end_to_end(reply.headers) if field[0] != "content-type")
    length = reply.header("content-length")
    if reply.source is not None and length is not None and length.isdigit():
        headers = (*headers, ("content-length", length))
    if reply.source is None:
        return Outbound(reply.status, headers, Content(reply.content.data, media_type))
    return Outbound(reply.status, headers, Content(b"", media_type), source=reply.source)
