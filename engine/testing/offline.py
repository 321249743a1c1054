"""Runs exchanges without a network: an `UpstreamStub` responds to calls.

Contract: performs the same effects as the server, but without waiting, counting and caching. Parallel calls
run one after another. Must not know asyncio, sockets, nor where a stub has its responses from.
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
    """Stops an exchange: raised by a stub, it propagates to the caller of `carry_out`."""


class MissingStub(Halt):
    """A call has no stub response; calls that do not depend on it are still made."""


class UpstreamStub(Protocol):
    """A stub for all upstreams."""

    def send(self, effect: exchange.SendCall) -> UpstreamResponse:
        """The response to a call. Raises the `ExchangeError` of a failed call, or a `Halt`."""
        ...

    def next(self) -> Batch:
        """The next batch of a streaming response; None at its end."""
        ...

    def rest(self) -> Content:
        """The rest of a streaming response."""
        ...


def carry_out(effects: exchange.ExchangeRun, content: Content, stub: UpstreamStub) -> exchange.ExchangeResult:
    """Run an exchange to its end. The response is a `CompleteResponse`, also for a stream.

    Args:
        content: the client's body.

    Raises:
        Halt: the stub has stopped the exchange.
    """
    result: exchange.ExchangeResult = _drive(effects, content, stub)
    _write_stream(result, stub)
    return result


def received(result: exchange.ExchangeResult) -> CompleteResponse:
    """The response of an exchange that `carry_out` has run; a stream is complete then."""
    assert isinstance(result.response, CompleteResponse)
    return result.response


def describe_error(result: exchange.ExchangeResult) -> str | None:
    """The error of an exchange with its location, for authors, not for clients; None if it succeeded."""
    error = result.error
    if error is None:
        return None
    location, _, detail = (error.cause or "").partition(": ")
    cause = location if error.message.endswith(detail) else error.cause
    return f"{error.kind}: {error.message}" + (f" ({cause})" if cause else "")


def _drive(effects: exchange.Effects[Any], content: Content, stub: UpstreamStub) -> Any:
    """Perform the effects of an exchange until it returns."""
    try:
        effect = next(effects)
        while True:
            try:
                outcome = _perform(effect, content, stub)
            except Halt:
                raise
            except Exception as error:
                effect = effects.throw(error)
            else:
                effect = effects.send(outcome)
    except StopIteration as end:
        return end.value


def _write_stream(result: exchange.ExchangeResult, stub: UpstreamStub) -> None:
    """Read a stream to its end, and replace the response by one with the bytes that its client receives."""
    response = result.response
    if isinstance(response, CompleteResponse):
        return
    if isinstance(response, ByteStreamResponse):
        content = Content(stub.rest().data, response.media_type)
        result.response = CompleteResponse(response.status, response.headers, content)
        return
    stream = response.stream
    writer = exchange.EventWriter(stream.plan, result.exchange)
    data = writer.write([*stream.first, *stream.script], stream)
    while not stream.is_over:
        data += writer.write(stream.feed(stub.next()), stream)
    result.error = stream.error
    data += b"" if stream.error is not None else writer.close()
    content = Content(data, response.media_type)
    result.response = CompleteResponse(response.status, response.headers, content)


def _perform(effect: exchange.Effect[object], content: Content, stub: UpstreamStub) -> Any:
    """Perform one effect, and return its result."""
    match effect:
        case exchange.SendCall():
            return _send(effect, stub)
        case exchange.ReadBatch():
            return stub.next()
        case exchange.ReadContent():
            assert isinstance(effect.source, OfflineSource)
            return _checked(stub.rest(), effect.limit, effect.source.upstream)
        case exchange.ReadBody():
            return _bounded(content, effect.limit)
        case exchange.OpenBody():
            return BufferedBody((content if effect.limit is None else _bounded(content, effect.limit)).data)
        case exchange.RunParallel():
            _run_parallel(effect, content, stub)
        case exchange.CheckHealth():
            return {name: _health(effect, name, stub) for name in effect.names}
        case exchange.AcquireRetry():
            return True
        case exchange.RenderMetrics():
            return Content(b"", TEXT)
    return None


def _run_parallel(effect: exchange.RunParallel, content: Content, stub: UpstreamStub) -> None:
    """Run branches one after another.

    The first error is raised only after all branches that do not depend on a failed one, because the server
    runs them concurrently.
    """
    failures: dict[str, Exception] = {}
    for branch in effect.branches:
        if not branch.needs & failures.keys():
            try:
                _drive(branch.effects, content, stub)
            except (ExchangeError, MissingStub) as error:
                failures[branch.name] = error
    for failure in failures.values():
        raise failure


def _health(effect: exchange.CheckHealth, name: str, stub: UpstreamStub) -> dict[str, Any]:
    """A health report of an upstream: from its response to a check, or `healthy` if no check is made."""
    plan = effect.mapping.upstreams[name]
    if effect.known or plan.health is None:
        return exchange.skipped_report()
    try:
        response = stub.send(exchange.SendCall(effect.mapping, plan, exchange.health_request(plan)))
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


def _send(effect: exchange.SendCall, stub: UpstreamStub) -> UpstreamResponse:
    """The response to a call. Raises `too_large` if it exceeds the limit of the call."""
    response, request = stub.send(effect), effect.request
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
