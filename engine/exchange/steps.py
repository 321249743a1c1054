"""A whole exchange, step by step: what is asked for on the way, and what it comes to.

Contract: an exchange is a generator that asks for I/O and is given its results, so that the event loop and
the runner of tests carry out the same one. Whatever it is given, or thrown, it ends with an answer.
Must not know how a body is read or a call is sent.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from engine.errors import ExchangeError
from engine.exchange.call import build_request
from engine.exchange.failures import build_error
from engine.exchange.headers import extra_headers
from engine.exchange.inbound import authorize, read_body
from engine.exchange.reply import build_reply
from engine.messages import EMPTY, Exchange, Inbound, Outbound, UpstreamRequest
from engine.plan import MappingPlan, PlanLeaf, PlanMatch, RoutePlan, UpstreamPlan


@dataclass(slots=True)
class ReadBody:
    """Asks for the client's body: a `Content` of at most `limit` bytes."""

    limit: int


@dataclass(slots=True)
class SendCall:
    """Asks for the reply to a call: an `UpstreamReply`."""

    mapping: MappingPlan
    upstream: UpstreamPlan
    request: UpstreamRequest


@dataclass(slots=True)
class Answered:
    """What an exchange came to: the answer, and what the log says of it.

    `defect` is an exception that the engine did not foresee; its client was told of an `internal` error.
    """

    exchange: Exchange
    outbound: Outbound
    mapping: MappingPlan | None = None
    route: RoutePlan | None = None
    error: ExchangeError | None = None
    defect: Exception | None = None


#: An exchange that is being carried out. It yields what it needs, is sent that, or is thrown the exception
#: that came instead, and returns what it came to.
Steps = Generator[ReadBody | SendCall, Any, Answered]


def answer(match: PlanMatch, inbound: Inbound) -> Steps:
    """Carry out one exchange. Whatever is thrown into it, there is an answer."""
    exchange = Exchange(inbound, {})
    answered = Answered(exchange, Outbound(500, (), EMPTY), match.owner)
    try:
        leaf = match.leaf(inbound.method)
        answered.mapping, answered.route = leaf.owner, leaf.route
        authorize(leaf.owner, leaf.route, inbound)
        exchange.params = match.params(leaf)
        answered.outbound = yield from _exchange(leaf, exchange)
    except ExchangeError as error:
        _fail(answered, error)
    except Exception as error:
        answered.defect = error
        _fail(answered, ExchangeError("internal", "something went wrong here"))
    _add_extra_headers(answered)
    return answered


def _exchange(leaf: PlanLeaf, exchange: Exchange) -> Generator[ReadBody | SendCall, Any, Outbound]:
    mapping, route = leaf.owner, leaf.route
    if route.reads_body:
        exchange.inbound.content = yield ReadBody(route.max_bytes)
    read_body(route, exchange)
    if route.call is not None:
        request = build_request(route, route.call, exchange)
        exchange.reply = yield SendCall(mapping, route.call.upstream, request)
    return build_reply(route, exchange)


def _fail(answered: Answered, error: ExchangeError) -> None:
    """Answer with a failure; with a plain one, where telling it in the mapping's dialect is a defect too."""
    answered.error = error
    try:
        answered.outbound = build_error(answered.mapping, answered.exchange, error)
    except Exception as defect:
        answered.defect = defect
        answered.outbound = build_error(None, answered.exchange, error)


def _add_extra_headers(answered: Answered) -> None:
    extra = dict(extra_headers(answered.exchange))
    own = (field for field in answered.outbound.headers if field[0] not in extra)
    answered.outbound.headers = (*own, *extra.items())
