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
from engine.exchange.call import build_request, chosen_call
from engine.exchange.dropped import check_dropped
from engine.exchange.failures import build_error, told_in_band, unusable_reply
from engine.exchange.headers import extra_headers
from engine.exchange.inbound import authorize, read_body
from engine.exchange.reply import answer_of, build_reply, head_of, streaming_case
from engine.exchange.stream import EventStream, outbound_stream
from engine.exchange.translation import Batch, Translation, framing_of
from engine.messages import EMPTY, Content, Exchange, Inbound, Outbound, UpstreamReply, UpstreamRequest
from engine.plan import (
    CasePlan,
    MappingPlan,
    PlanLeaf,
    PlanMatch,
    RoutePlan,
    TranslationPlan,
    UpstreamPlan,
)
from engine.values import JsonError


@dataclass(slots=True)
class ReadBody:
    """Asks for the client's body: a `Content` of at most `limit` bytes."""

    limit: int


@dataclass(slots=True)
class SendCall:
    """Asks for the reply to a call: an `UpstreamReply`, of which only the head is there if `streams`."""

    mapping: MappingPlan
    upstream: UpstreamPlan
    request: UpstreamRequest
    streams: bool = False


@dataclass(slots=True)
class ReadBatch:
    """Asks for what the upstream sends next: bytes, a list of events, or None at its end."""

    source: Any


@dataclass(slots=True)
class ReadContent:
    """Asks for all that the upstream still sends: a `Content`."""

    source: Any


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
Step = ReadBody | SendCall | ReadBatch | ReadContent
Steps = Generator[Step, Any, Answered]


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


def _exchange(leaf: PlanLeaf, exchange: Exchange) -> Generator[Step, Any, Outbound]:
    mapping, route = leaf.owner, leaf.route
    if route.reads_body:
        exchange.inbound.content = yield ReadBody(route.max_bytes)
    read_body(route, exchange)
    call = chosen_call(route, exchange)
    if call is None:
        return build_reply(route, None, exchange)
    check_dropped(route, call, exchange)
    request = build_request(route, call, exchange)
    reply: UpstreamReply = yield SendCall(mapping, call.upstream, request, route.streams)
    exchange.reply = reply
    case = streaming_case(route, exchange)
    if case is not None:
        return (yield from _streamed(mapping, case, exchange, reply))
    if reply.source is not None:
        reply.content = yield ReadContent(reply.source)
    return build_reply(route, call, exchange)


def _streamed(
    mapping: MappingPlan, case: CasePlan, exchange: Exchange, reply: UpstreamReply
) -> Generator[Step, Any, Outbound]:
    """An answer made from the upstream's events, once the first of them is there."""
    plan = case.stream or case.collect
    assert plan is not None
    assert plan.translation is not None
    batches = _Batches(reply, plan.translation)
    if batches.framing is None:
        content = reply.content if reply.source is None else (yield ReadContent(reply.source))
        batches.take_whole(content, exchange)
    translation = Translation(plan.translation, exchange, batches.framing or "ndjson")
    if case.collect is not None:
        yield from _collect(translation, batches)
        return answer_of(case, exchange, None, "upstream_error")
    assert case.stream is not None
    rules = plan.translation.error
    stream = EventStream(case.stream, translation, lambda e: told_in_band(mapping, exchange, e, rules))
    while not stream.first and not stream.is_over:
        stream.first = stream.feed((yield from batches.next()))
    if stream.error is not None and not exchange.sent:
        raise stream.error
    status, headers = head_of(case, exchange, None, "upstream_error")
    return outbound_stream(stream, status, headers)


def _collect(translation: Translation, batches: _Batches) -> Generator[Step, Any, None]:
    """Read a stream to its end."""
    while not translation.is_over:
        translation.feed((yield from batches.next()))
    if translation.error is not None:
        raise translation.error


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


class _Batches:
    """What an upstream sends to a stream: batches as they come, or a whole JSON answer as one event."""

    def __init__(self, reply: UpstreamReply, plan: TranslationPlan) -> None:
        self.source = reply.source
        self.framing = framing_of(reply.header("content-type") or "", plan) if reply.source else None
        self._left: list[Batch] = []

    def take_whole(self, content: Content, exchange: Exchange) -> None:
        """An answer that is no stream: its value is the only event."""
        try:
            self._left = [[content.value], None]
        except JsonError as error:
            message = "the upstream's answer is neither a stream nor JSON"
            raise unusable_reply(exchange, message, str(error)) from None

    def next(self) -> Generator[Step, Any, Batch]:
        """What comes next; None at the end."""
        if self.framing is None:
            return self._left.pop(0)
        batch: Batch = yield ReadBatch(self.source)
        return batch
