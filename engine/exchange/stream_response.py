"""Streams of events, read from an upstream: to their end, or until a response can begin.

Contract: a response starts with its first event, so that an error before it has its own status; unless the
response has `keep_alive` and no event arrives for that long: then the status is sent first.
"""

from __future__ import annotations

import contextlib
from typing import Any

from engine.codecs import FRAMINGS
from engine.errors import call_failed
from engine.exchange.effects import BatchTimeout, Effects, ReadBatch
from engine.exchange.errors import in_band_error
from engine.exchange.event_stream import EventStream, Response, event_stream_response
from engine.exchange.exchange import Exchange
from engine.exchange.response import head_of
from engine.exchange.stream_translation import Translation
from engine.http.messages import Batch, UpstreamResponse
from engine.plan import CasePlan, MappingPlan, StreamPlan
from engine.values import JsonError, dumps


def new_event_stream(
    mapping: MappingPlan, plan: StreamPlan, translation: Translation, exchange: Exchange
) -> EventStream:
    """The stream of a translation, with errors in the client's error format."""
    rules = None if plan.translation is None else plan.translation.error
    return EventStream(plan, translation, lambda e: in_band_error(mapping, exchange, e, rules))


def begin_stream(
    case: CasePlan, stream: EventStream, batches: Batches, response: UpstreamResponse, exchange: Exchange
) -> Effects[Response]:
    """The response of a stream, once its first event has arrived, unless it has one already.

    Raises:
        ExchangeError: the stream failed before its first event.
    """
    timeout = stream.plan.keep_alive if FRAMINGS[stream.plan.framing].has_comments else None
    while not stream.first and not stream.is_over:
        batch = yield from batches.next(timeout)
        if isinstance(batch, BatchTimeout):
            # The read continues in the new source; closing the response closes it too.
            response.source = batch.source
            break
        stream.first = stream.feed(batch)
    if stream.error is not None and not exchange.sent:
        raise stream.error
    status, headers = head_of(case, exchange, None, "upstream_error")
    return event_stream_response(stream, status, headers)


def read_to_end(
    translation: Translation, batches: Batches, exchange: Exchange, max_bytes: int
) -> Effects[None]:
    """Read and translate a stream of at most `max_bytes` to its end.

    Raises:
        ExchangeError: the stream failed, or is larger.
    """
    size = 0
    while not translation.is_over:
        batch = yield from batches.next()
        assert not isinstance(batch, BatchTimeout), "there was no timeout"
        size += _size_of(batch)
        if size > max_bytes:
            raise call_failed(exchange.upstream or "", "too_large", f"over {max_bytes} bytes")
        translation.feed(batch)
    if translation.error is not None:
        raise translation.error


def _size_of(batch: Batch) -> int:
    """The size of a batch in bytes; for events of another mapping, the size of their JSON, if they have
    one."""
    if isinstance(batch, bytes):
        return len(batch)
    size = 0
    for event in batch or ():
        with contextlib.suppress(JsonError):
            size += len(dumps(event))
    return size


class Batches:
    """The batches of an upstream's response; a response that is not a stream is one JSON event."""

    def __init__(self, response: UpstreamResponse, framing: str | None) -> None:
        self.source = response.source
        self.framing = framing
        self._left: list[Batch] = []

    def take_complete(self, value: Any) -> None:
        """Take a response that is not a stream: its JSON value is the only event."""
        self._left = [[value], None]

    def next(self, seconds: float | None = None) -> Effects[Batch | BatchTimeout]:
        """The next batch, None at the end; `BatchTimeout` if none arrives within this number of seconds."""
        if self.framing is None:
            return self._left.pop(0)
        assert self.source is not None
        return (yield from ReadBatch(self.source, seconds))
