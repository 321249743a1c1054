"""Answers that are given or taken again: what tells their requests apart, and answers as they are kept.

Contract: a client's request is known by its path, query and body, and by what else the answer depends on; a
call's by all that is sent, credentials with it, save the id of the client's request. What is kept is a 2xx
answer that is there as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from engine.exchange.headers import REQUEST_ID_HEADER
from engine.messages import Exchange, Outbound, UpstreamReply, UpstreamRequest
from engine.plan import CachePlan, MappingPlan, RoutePlan

#: What the keys of calls begin with, and those of clients' requests.
_CALL: Final = b"call\0"
_REQUEST: Final = b""


def exchange_key(mapping: MappingPlan, route: RoutePlan, cache: CachePlan, exchange: Exchange) -> str:
    """What the answer to a client is kept under; the client's key is no part of it, unless the answer depends
    on that."""
    inbound, names = exchange.inbound, cache.headers
    fields = (field for field in inbound.headers if names is None or field[0] in names)
    key = (inbound.key or "") if cache.by_key else ""
    parts = (mapping.name, route.method, inbound.path, inbound.query, key)
    return _digest(_REQUEST, parts, fields, inbound.content.data if route.reads_body else b"")


def request_key(mapping: MappingPlan, request: UpstreamRequest) -> str:
    """What the answer to a call is kept under."""
    fields = (field for field in request.headers if field[0] != REQUEST_ID_HEADER)
    parts = (mapping.name, request.upstream, request.method, request.target)
    return _digest(_CALL, parts, fields, request.content.data)


def _digest(mark: bytes, parts: Iterable[str], fields: Iterable[tuple[str, str]], body: bytes) -> str:
    digest = hashlib.sha256(mark)
    for part in (*parts, *(f"{name}:{value}" for name, value in sorted(fields))):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\n")
    digest.update(b"\n" + body)
    return digest.hexdigest()


def can_be_kept(answer: Outbound | UpstreamReply) -> bool:
    """Whether an answer may be given again."""
    return answer.is_whole and 200 <= answer.status < 300


def as_kept(reply: UpstreamReply) -> Outbound:
    """An answer in the form in which answers are kept."""
    return Outbound(reply.status, reply.headers, reply.content)


def from_kept(outbound: Outbound) -> UpstreamReply:
    """The answer that was kept."""
    return UpstreamReply(outbound.status, outbound.headers, outbound.content)
