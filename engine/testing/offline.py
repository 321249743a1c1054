"""Exchanges carried out without a network: what an exchange asks for is given at once, or by a double.

Contract: the steps are those that the server carries out; nothing is waited for, counted or kept, and calls
that are made together come one by one. Who wants calls answered gives a `Double`.
Must not know asyncio, sockets, nor where a double has its answers from.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

from engine import exchange as middle
from engine.errors import ExchangeError, call_failed
from engine.http.messages import TEXT, Content, UpstreamReply, WholeSource


class Halt(Exception):
    """An exchange is left where it is: raised by a double, it reaches who drives the exchange."""


class Unanswered(Halt):
    """A call without an answer; calls that do not wait for it are made all the same."""


class Double(Protocol):
    """What stands in the place of all upstreams."""

    def send(self, step: middle.SendCall) -> UpstreamReply:
        """The reply to a call; raises what an upstream would, or a `Halt`."""
        ...

    def next(self) -> middle.Batch:
        """What comes next of a reply that is read as it comes; None at its end."""
        ...

    def rest(self) -> Content:
        """All of it that is left."""
        ...


def carry_out(steps: middle.Steps, content: Content, double: Double) -> middle.Answered:
    """Carry out an exchange to its end, a stream too, whose bytes then stand in `outbound.content`.

    Args:
        content: the client's body.

    Raises:
        Halt: a double does not go on.
    """
    answered: middle.Answered = _driven(steps, content, double)
    _write_stream(answered, double)
    return answered


def failure_of(answered: middle.Answered) -> str | None:
    """What an exchange has failed of, with its place, where it did: for authors, not for clients."""
    error = answered.error
    if error is None:
        return None
    place, _, said = (error.cause or "").partition(": ")
    cause = place if error.message.endswith(said) else error.cause
    return f"{error.kind}: {error.message}" + (f" ({cause})" if cause else "")


def _driven(steps: Generator[middle.Step, Any, Any], content: Content, double: Double) -> Any:
    """Give an exchange what it asks for, until it has come to its end."""
    try:
        step = next(steps)
        while True:
            try:
                given = _take(step, content, double)
            except Halt:
                raise
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(given)
    except StopIteration as end:
        return end.value


def _write_stream(answered: middle.Answered, double: Double) -> None:
    """Carry a stream to its end, and put what its client reads in the place of it."""
    outbound, stream = answered.outbound, answered.outbound.stream
    if outbound.source is not None:
        outbound.content = Content(double.rest().data, outbound.content.media_type)
    if stream is None:
        return
    writer = middle.EventWriter(stream.plan, answered.exchange)
    data = writer.write([*stream.first, *stream.script], stream)
    while not stream.is_over:
        data += writer.write(stream.feed(double.next()), stream)
    answered.error = stream.error
    data += b"" if stream.error is not None else writer.close()
    outbound.content = Content(data, outbound.content.media_type)


def _take(step: middle.Step, content: Content, double: Double) -> Any:
    """What one step asks for."""
    match step:
        case middle.SendCall():
            return _reply(step, double)
        case middle.ReadBatch():
            return double.next()
        case middle.ReadContent():
            return _checked(double.rest(), step.limit, step.source.upstream)
        case middle.ReadBody():
            return _bounded(content, step.limit)
        case middle.OpenBody():
            return WholeSource((content if step.limit is None else _bounded(content, step.limit)).data)
        case middle.Together():
            _together(step, content, double)
        case middle.AskHealth():
            return {name: _health(step, name, double) for name in step.names}
        case middle.MayRepeat():
            return True
        case middle.AskMetrics():
            return Content(b"", TEXT)
    return None


def _together(step: middle.Together, content: Content, double: Double) -> None:
    """Branches one by one; as they are made at the same time, the failure of one is told after all others
    have been made that do not wait for it."""
    failures: dict[str, Exception] = {}
    for branch in step.branches:
        if not branch.needs & failures.keys():
            try:
                _driven(branch.steps, content, double)
            except (ExchangeError, Unanswered) as error:
                failures[branch.name] = error
    for failure in failures.values():
        raise failure


def _health(step: middle.AskHealth, name: str, double: Double) -> dict[str, Any]:
    """A report on an upstream: by its answer to the check, or unasked that it is well."""
    plan = step.mapping.upstreams[name]
    if step.known or plan.health is None:
        return middle.unasked_report()
    try:
        reply = double.send(middle.SendCall(step.mapping, plan, middle.health_request(plan)))
    except ExchangeError as error:
        return middle.failed_report(error.message)
    return middle.answered_report(reply.status, 0)


@dataclass(frozen=True, slots=True)
class _Source:
    """What a reply is read from as it comes: the double, under the name of the upstream that was called."""

    upstream: str


def _reply(step: middle.SendCall, double: Double) -> UpstreamReply:
    """The reply to a call, unless it is larger than the call accepts."""
    reply, request = double.send(step), step.request
    if reply.source is not None:
        reply.source = _Source(request.upstream)
    elif not request.raw:
        _checked(reply.content, request.max_bytes, request.upstream)
    return reply


def _checked(content: Content, limit: int, upstream: str) -> Content:
    if content.is_written and len(content.data) > limit:
        raise call_failed(upstream, "too_large", f"over {limit} bytes")
    return content


def _bounded(content: Content, limit: int) -> Content:
    if len(content.data) > limit:
        raise middle.too_large(limit)
    return content
