"""An answer made from the upstream's events: streamed on, or gathered.

Contract: the first event is there before the answer is, so that what fails before it has a status of its own;
unless the answer has `keep_alive`, and no event came for so long: then the status goes out without one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

from engine.codecs import FRAMINGS
from engine.errors import call_failed
from engine.exchange.effects import BatchTimeout, ReadBatch, ReadContent, Step
from engine.exchange.errors import in_band_error, unusable_response
from engine.exchange.event_stream import EventStream, outbound_stream
from engine.exchange.exchange import Exchange
from engine.exchange.response import case_response, head_of
from engine.exchange.stream_translation import Batch, Translation, framing_of
from engine.http.messages import Content, Response, UpstreamResponse
from engine.plan import CasePlan, MappingPlan, TranslationPlan
from engine.values import JsonError, dumps


def streamed(
    mapping: MappingPlan,
    case: CasePlan,
    exchange: Exchange,
    response: UpstreamResponse,
    max_bytes: int,
) -> Generator[Step, Any, Response]:
    """An answer made from the upstream's events, once the first of them is there.

    `max_bytes` bounds what is read as a whole: a response that is no stream, and a stream that is collected.
    """
    plan = case.stream or case.collect
    assert plan is not None
    assert plan.translation is not None
    batches = _Batches(response, plan.translation)
    if batches.framing is None:
        content = (
            response.content if response.source is None else (yield ReadContent(response.source, max_bytes))
        )
        batches.take_whole(content, exchange)
    translation = Translation(plan.translation, exchange, batches.framing or "ndjson")
    if case.collect is not None:
        yield from _collect(translation, batches, exchange, max_bytes)
        return case_response(case, exchange, None, "upstream_error")
    assert case.stream is not None
    rules = plan.translation.error
    stream = EventStream(case.stream, translation, lambda e: in_band_error(mapping, exchange, e, rules))
    patience = case.stream.keep_alive if FRAMINGS[case.stream.framing].has_comments else None
    while not stream.first and not stream.is_over:
        batch = yield from batches.next(patience)
        if isinstance(batch, BatchTimeout):
            # Its read goes on; what closes the reply closes that too.
            response.source = batch.source
            break
        stream.first = stream.feed(batch)
    if stream.error is not None and not exchange.sent:
        raise stream.error
    status, headers = head_of(case, exchange, None, "upstream_error")
    return outbound_stream(stream, status, headers)


def _collect(
    translation: Translation, batches: _Batches, exchange: Exchange, max_bytes: int
) -> Generator[Step, Any, None]:
    """Read a stream to its end."""
    size = 0
    while not translation.is_over:
        batch = yield from batches.next()
        assert not isinstance(batch, BatchTimeout), "it was waited for without a bound"
        size += 0 if batches.framing is None else _size_of(batch)
        if size > max_bytes:
            raise call_failed(exchange.upstream or "", "too_large", f"over {max_bytes} bytes")
        translation.feed(batch)
    if translation.error is not None:
        raise translation.error


def _size_of(batch: Batch) -> int:
    """Bytes of a batch; of events of another mapping, those of their JSON, where they have one."""
    if isinstance(batch, bytes):
        return len(batch)
    size = 0
    for event in batch or ():
        with contextlib.suppress(JsonError):
            size += len(dumps(event))
    return size


class _Batches:
    """What an upstream sends to a stream: batches as they come, or a whole JSON answer as one event."""

    def __init__(self, response: UpstreamResponse, plan: TranslationPlan) -> None:
        self.source = response.source
        self.framing = framing_of(response.header("content-type") or "", plan) if response.source else None
        self._left: list[Batch] = []

    def take_whole(self, content: Content, exchange: Exchange) -> None:
        """An answer that is no stream: its value is the only event."""
        try:
            self._left = [[content.value], None]
        except JsonError as error:
            message = "the upstream's answer is neither a stream nor JSON"
            raise unusable_response(exchange, message, str(error)) from None

    def next(self, seconds: float | None = None) -> Generator[Step, Any, Batch | BatchTimeout]:
        """What comes next, None at the end; a `Later` where it does not come within so many seconds."""
        if self.framing is None:
            return self._left.pop(0)
        batch: Batch | BatchTimeout = yield ReadBatch(self.source, seconds)
        return batch
