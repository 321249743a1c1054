"""Exchanges carried out without a network: what an exchange asks for is given at once, or by a double.

Contract: the steps are those that the server carries out; nothing is waited for, counted or kept, and calls
that are made together come one by one. Who wants calls answered gives a `Double`.
Must not know asyncio, sockets, nor where a double has its answers from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from engine import exchange
from engine.errors import ExchangeError, call_failed
from engine.http.messages import (
    TEXT,
    Batch,
    BufferedBody,
    ByteStreamResponse,
    CompleteResponse,
    Content,
    Feed,
    UpstreamResponse,
)


class Halt(Exception):
    """An exchange is left where it is: raised by a double, it reaches who drives the exchange."""


class MissingStub(Halt):
    """A call without an answer; calls that do not wait for it are made all the same."""


class UpstreamStub(Protocol):
    """What stands in the place of all upstreams."""

    def send(self, step: exchange.SendCall) -> UpstreamResponse:
        """The reply to a call; raises what an upstream would, or a `Halt`."""
        ...

    def next(self) -> Batch:
        """What comes next of a reply that is read as it comes; None at its end."""
        ...

    def rest(self) -> Content:
        """All of it that is left."""
        ...


def carry_out(steps: exchange.ExchangeRun, content: Content, double: UpstreamStub) -> exchange.ExchangeResult:
    """Carry out an exchange to its end, a stream too, whose response is then a `CompleteResponse`.

    Args:
        content: the client's body.

    Raises:
        Halt: a double does not go on.
    """
    result: exchange.ExchangeResult = _driven(steps, content, double)
    _write_stream(result, double)
    return result


def received(result: exchange.ExchangeResult) -> CompleteResponse:
    """The response of an exchange that `carry_out` has run; a stream is complete then."""
    assert isinstance(result.response, CompleteResponse)
    return result.response


def failure_of(result: exchange.ExchangeResult) -> str | None:
    """What an exchange has failed of, with its place, where it did: for authors, not for clients."""
    error = result.error
    if error is None:
        return None
    place, _, said = (error.cause or "").partition(": ")
    cause = place if error.message.endswith(said) else error.cause
    return f"{error.kind}: {error.message}" + (f" ({cause})" if cause else "")


def _driven(steps: exchange.Effects[Any], content: Content, double: UpstreamStub) -> Any:
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


def _write_stream(result: exchange.ExchangeResult, double: UpstreamStub) -> None:
    """Carry a stream to its end, and put what its client reads in the place of it."""
    response = result.response
    if isinstance(response, CompleteResponse):
        return
    if isinstance(response, ByteStreamResponse):
        content = Content(double.rest().data, response.media_type)
        result.response = CompleteResponse(response.status, response.headers, content)
        return
    stream = response.stream
    writer = exchange.EventWriter(stream.plan, result.exchange)
    data = writer.write([*stream.first, *stream.script], stream)
    while not stream.is_over:
        data += writer.write(stream.feed(double.next()), stream)
    result.error = stream.error
    data += b"" if stream.error is not None else writer.close()
    content = Content(data, response.media_type)
    result.response = CompleteResponse(response.status, response.headers, content)


def _take(step: exchange.Effect[object], content: Content, double: UpstreamStub) -> Any:
    """What one step asks for."""
    match step:
        case exchange.SendCall():
            return _reply(step, double)
        case exchange.ReadBatch():
            return double.next()
        case exchange.ReadContent():
            assert isinstance(step.source, OfflineSource)
            return _checked(double.rest(), step.limit, step.source.upstream)
        case exchange.ReadBody():
            return _bounded(content, step.limit)
        case exchange.OpenBody():
            return BufferedBody((content if step.limit is None else _bounded(content, step.limit)).data)
        case exchange.RunParallel():
            _together(step, content, double)
        case exchange.CheckHealth():
            return {name: _health(step, name, double) for name in step.names}
        case exchange.AcquireRetry():
            return True
        case exchange.RenderMetrics():
            return Content(b"", TEXT)
    return None


def _together(step: exchange.RunParallel, content: Content, double: UpstreamStub) -> None:
    """Branches one by one; as they are made at the same time, the failure of one is told after all others
    have been made that do not wait for it."""
    failures: dict[str, Exception] = {}
    for branch in step.branches:
        if not branch.needs & failures.keys():
            try:
                _driven(branch.effects, content, double)
            except (ExchangeError, MissingStub) as error:
                failures[branch.name] = error
    for failure in failures.values():
        raise failure


def _health(step: exchange.CheckHealth, name: str, double: UpstreamStub) -> dict[str, Any]:
    """A report on an upstream: by its answer to the check, or unasked that it is well."""
    plan = step.mapping.upstreams[name]
    if step.known or plan.health is None:
        return exchange.skipped_report()
    try:
        response = double.send(exchange.SendCall(step.mapping, plan, exchange.health_request(plan)))
    except ExchangeError as error:
        return exchange.failed_report(error.message)
    return exchange.response_report(response.status, 0)


@dataclass(frozen=True, slots=True)
class OfflineSource:
    """The `Source` of a streamed stub response of `upstream`: the stub is read instead of it."""

    upstream: str

    async def next(self) -> Batch:
        raise AssertionError(_NOT_READ)

    async def pump(self, feed: Feed) -> bool:
        raise AssertionError(_NOT_READ)

    async def content(self, limit: int) -> Content:
        raise AssertionError(_NOT_READ)

    async def aclose(self) -> None:
        """There is nothing to release."""


_NOT_READ: Final = "offline, the stub is read instead of a source"


def _reply(step: exchange.SendCall, double: UpstreamStub) -> UpstreamResponse:
    """The reply to a call, unless it is larger than the call accepts."""
    response, request = double.send(step), step.request
    if response.source is not None:
        response.source = OfflineSource(request.upstream)
    elif not request.raw:
        _checked(response.content, request.max_bytes, request.upstream)
    return response


def _checked(content: Content, limit: int, upstream: str) -> Content:
    if content.has_data and len(content.data) > limit:
        raise call_failed(upstream, "too_large", f"over {limit} bytes")
    return content


def _bounded(content: Content, limit: int) -> Content:
    if len(content.data) > limit:
        raise exchange.too_large(limit)
    return content
