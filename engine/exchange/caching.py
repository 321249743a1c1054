"""Cached responses: what identifies their requests, and which responses may be cached.

Contract: a client's request is identified by its method, route, path, query and body, and by what else its
response depends on; a call by all that is sent, except the id of the client's request, and by the secrets of
its upstream, from which the credentials of each request are made.
A cached response is a complete 2xx that concerns nobody in particular.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from operator import itemgetter
from typing import Final, TypeGuard

from engine.exchange.event_stream import Response
from engine.exchange.exchange import Exchange
from engine.exchange.headers import REQUEST_ID_HEADER
from engine.exchange.reports import report_of
from engine.http.messages import CompleteResponse, Headers, Report, UpstreamRequest, UpstreamResponse
from engine.plan import CachePlan, MappingPlan, RoutePlan, UpstreamPlan

#: Prefixes of the digested data: of calls, and of clients' requests.
_CALL: Final = b"call\0"
_REQUEST: Final = b""

#: Response directives that forbid a shared cache to reuse it without revalidation (RFC 9111, 5.2.2).
_UNCACHEABLE: Final = frozenset(("no-store", "no-cache", "private"))
#: Partial content, which is valid only for its range (RFC 9111, 3.3).
_PARTIAL: Final = 206


def exchange_key(mapping: MappingPlan, route: RoutePlan, cache: CachePlan, exchange: Exchange) -> str:
    """The cache key of a client's request. It contains the name of the client's key only if the response
    depends on it."""
    inbound, names = exchange.inbound, cache.headers
    fields = (field for field in inbound.headers if names is None or field[0] in names)
    key = (inbound.key or "") if cache.by_key else ""
    parts = (mapping.name, route.method, route.pattern, inbound.method, inbound.path, inbound.query, key)
    return _digest(_REQUEST, parts, fields, inbound.content.data if route.reads_body else b"")


def request_key(mapping: MappingPlan, upstream: UpstreamPlan, request: UpstreamRequest) -> str:
    """The cache key of a call, from its request without credentials."""
    fields = (field for field in request.headers if field[0] != REQUEST_ID_HEADER)
    auth = upstream.auth
    parts = (mapping.name, upstream.name, request.method, request.target, auth.describe(), *auth.secrets())
    return _digest(_CALL, parts, fields, request.content.data)


def _digest(mark: bytes, parts: Iterable[str], fields: Iterable[tuple[str, str]], body: bytes) -> str:
    """A SHA-256 digest. Fields with the same name keep their order, which is significant (RFC 9110, 5.3)."""
    ordered = sorted(fields, key=itemgetter(0))
    digest = hashlib.sha256(mark)
    for part in (*parts, *(f"{name}:{value}" for name, value in ordered)):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\n")
    digest.update(b"\n" + body)
    return digest.hexdigest()


def is_cacheable(response: Response) -> TypeGuard[CompleteResponse]:
    """Whether the response to a client may be sent to others: not if it sets a cookie, its Cache-Control
    forbids it, or it varies on more than the request contains (`Vary: *`)."""
    if not isinstance(response, CompleteResponse) or not _can_be_shared(response):
        return False
    return _UNCACHEABLE.isdisjoint(_items(response.headers, "cache-control"))


def is_response_cacheable(response: UpstreamResponse) -> bool:
    """Whether the response to a call may be reused for the same call. `cache` in the mapping overrides the
    upstream's Cache-Control."""
    return response.source is None and _can_be_shared(response)


def _can_be_shared(response: CompleteResponse | UpstreamResponse) -> bool:
    if not 200 <= response.status < 300 or response.status == _PARTIAL:
        return False
    return not any(name == "set-cookie" for name, _ in response.headers) and "*" not in _items(
        response.headers, "vary"
    )


def _items(headers: Headers, name: str) -> set[str]:
    """The items of a list field, in lower case and without arguments."""
    values = (value for key, value in headers if key == name)
    return {item.partition("=")[0].strip().lower() for value in values for item in value.split(",")}


def cached_response(exchange: Exchange, response: CompleteResponse) -> CompleteResponse:
    """The response to a client in the form in which it is cached: with the fields that were not carried over,
    which are the same for every request with this cache key."""
    return _reporting(response, report_of(exchange))


def to_cached(response: UpstreamResponse) -> CompleteResponse:
    """The response to a call in the form in which it is cached."""
    return _reporting(response, response.report)


def _reporting(response: CompleteResponse | UpstreamResponse, report: Report) -> CompleteResponse:
    """A response with a report, but without its calls: a cached response makes none."""
    cached = CompleteResponse(response.status, response.headers, response.content)
    cached.report = report._replace(calls=())
    return cached


def from_cached(response: CompleteResponse) -> UpstreamResponse:
    """The cached response to a call."""
    restored = UpstreamResponse(response.status, response.headers, response.content)
    restored.report = response.report
    return restored
