"""Calls whose answers are taken again: what tells their requests apart, and answers as they are kept.

Contract: a request is known by all that is sent, credentials with it, save the id of the client's request.
What is kept is a 2xx answer that is there as a whole.
"""

from __future__ import annotations

import hashlib
from typing import Final

from engine.exchange.headers import REQUEST_ID_HEADER
from engine.messages import Outbound, UpstreamReply, UpstreamRequest
from engine.plan import MappingPlan

_MARK: Final = b"call\0"


def request_key(mapping: MappingPlan, request: UpstreamRequest) -> str:
    """What an answer to this request is kept under."""
    digest = hashlib.sha256(_MARK)
    headers = sorted(field for field in request.headers if field[0] != REQUEST_ID_HEADER)
    fields = (f"{name}:{value}" for name, value in headers)
    for part in (mapping.name, request.upstream, request.method, request.target, *fields):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\n")
    digest.update(b"\n" + request.content.data)
    return digest.hexdigest()


def can_be_kept(reply: UpstreamReply) -> bool:
    """Whether this answer may be taken again."""
    return reply.source is None and 200 <= reply.status < 300


def as_kept(reply: UpstreamReply) -> Outbound:
    """An answer in the form in which answers are kept."""
    return Outbound(reply.status, reply.headers, reply.content)


def from_kept(outbound: Outbound) -> UpstreamReply:
    """The answer that was kept."""
    return UpstreamReply(outbound.status, outbound.headers, outbound.content)
