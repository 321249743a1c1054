"""Cached responses: what identifies their requests, and which responses may be cached.

Contract: a client's request is identified by its method, route, path, query and body, and by what else its
response depends on; a call by all that is sent, credentials included, except the id of the client's request.
A cached response is a complete 2xx that concerns nobody in particular.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from operator import itemgetter
from typing import Final

from engine.exchange.exchange import Exchange
from engine.exchange.headers import DROPPED_HEADER, REQUEST_ID_HEADER
from engine.exchange.unread_fields import listed
from engine.http.messages import Headers, Response, UpstreamRequest, UpstreamResponse
from engine.plan import CachePlan, MappingPlan, RoutePlan

#: What the keys of calls begin with, and those of clients' requests.
_CALL: Final = b"call\0"
_REQUEST: Final = b""

#: Directives of a response that no shared cache may serve it again without asking (RFC 9111, 5.2.2).
_UNCACHEABLE: Final = frozenset(("no-store", "no-cache", "private"))
#: A part of a representation, which is one only with its range (RFC 9111, 3.3).
_PARTIAL: Final = 206


def exchange_key(mapping: MappingPlan, route: RoutePlan, cache: CachePlan, exchange: Exchange) -> str:
    """The cache key of a client's request; the name of the client's key is part of it only where the response
    depends on that."""
    inbound, names = exchange.inbound, cache.headers
    fields = (field for field in inbound.headers if names is None or field[0] in names)
    key = (inbound.key or "") if cache.by_key else ""
    parts = (mapping.name, route.method, route.pattern, inbound.method, inbound.path, inbound.query, key)
    return _digest(_REQUEST, parts, fields, inbound.content.data if route.reads_body else b"")


def request_key(mapping: MappingPlan, request: UpstreamRequest) -> str:
    """The cache key of a call."""
    fields = (field for field in request.headers if field[0] != REQUEST_ID_HEADER)
    parts = (mapping.name, request.upstream, request.method, request.target)
    return _digest(_CALL, parts, fields, request.content.data)


def _digest(mark: bytes, parts: Iterable[str], fields: Iterable[tuple[str, str]], body: bytes) -> str:
    """Fields of one name keep their order, which means something (RFC 9110, 5.3)."""
    ordered = sorted(fields, key=itemgetter(0))
    digest = hashlib.sha256(mark)
    for part in (*parts, *(f"{name}:{value}" for name, value in ordered)):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\n")
    digest.update(b"\n" + body)
    return digest.hexdigest()


def is_cacheable(answer: Response) -> bool:
    """Whether the response to a client may be sent to others: not one that sets a cookie, says that it is not
    to be cached, or depends on more than its request says."""
    if not _can_be_shared(answer):
        return False
    return _UNCACHEABLE.isdisjoint(_items(answer.headers, "cache-control"))


def is_response_cacheable(response: UpstreamResponse) -> bool:
    """Whether the response to a call may be used for the same call again. `cache` in the mapping stands above
    the upstream's Cache-Control."""
    return _can_be_shared(response)


def _can_be_shared(answer: Response | UpstreamResponse) -> bool:
    if not answer.is_complete or not 200 <= answer.status < 300 or answer.status == _PARTIAL:
        return False
    return not any(name == "set-cookie" for name, _ in answer.headers) and "*" not in _items(
        answer.headers, "vary"
    )


def _items(headers: Headers, name: str) -> set[str]:
    """The items of a list field, in lower case and without arguments."""
    values = (value for key, value in headers if key == name)
    return {item.partition("=")[0].strip().lower() for value in values for item in value.split(",")}


def cached_response(exchange: Exchange, response: Response) -> Response:
    """The response to a client in the form in which it is cached: with the names of the fields that are not
    carried over, which are those of each request with its key."""
    if not exchange.dropped:
        return response
    headers = (*response.headers, (DROPPED_HEADER, listed(exchange.dropped)))
    return Response(response.status, headers, response.content)


def to_cached(response: UpstreamResponse) -> Response:
    """The response to a call in the form in which it is cached."""
    return Response(response.status, response.headers, response.content)


def from_cached(response: Response) -> UpstreamResponse:
    """The cached response to a call."""
    return UpstreamResponse(response.status, response.headers, response.content)
