"""Responses that are streams of events, and the encoding of their events.

Contract: pure. `EventStream` takes batches from the upstream and returns events; `EventWriter` encodes them.
A failed stream ends with the error in the client's error format, without an end marker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from engine.codecs import FRAMINGS
from engine.errors import ExchangeError, release_frames
from engine.exchange.evaluation import evaluate, text_of
from engine.exchange.exchange import Exchange
from engine.exchange.output_limits import too_many_bytes
from engine.exchange.stream_translation import Translation
from engine.http.messages import Batch, ByteStreamResponse, CompleteResponse, Headers
from engine.language.codegen import Compiled
from engine.plan import StreamPlan
from engine.values import ABSENT, JsonError, dumps

#: An error → events in the client's error format.
FormatError = Callable[[ExchangeError], list[Any]]


class EventStream:
    """Events for one client.

    Attributes:
        plan: framing, event names and intervals.
        first: events that were available when the status was sent.
        script: events that are known in advance, to be sent one by one.
        is_over: the upstream will send no more events.
        error: why it failed, or None.
        error_events: the events that report it; empty if it cannot be reported in band.
    """

    __slots__ = (
        "_format_error",
        "_translation",
        "error",
        "error_events",
        "first",
        "is_over",
        "plan",
        "script",
    )

    def __init__(self, plan: StreamPlan, translation: Translation | None, format_error: FormatError) -> None:
        self.plan = plan
        self.first: list[Any] = []
        self.script: list[Any] = []
        self.is_over = translation is None
        self.error: ExchangeError | None = None
        self.error_events: list[Any] = []
        self._translation = translation
        self._format_error = format_error

    def feed(self, batch: Batch) -> list[Any]:
        """Process a batch from the upstream, None at its end; returns the resulting events."""
        translation = self._translation
        assert translation is not None
        events = translation.feed(batch)
        if translation.error is not None:
            return [*events, *self.fail(translation.error)]
        self.is_over = translation.is_over
        return events

    def fail(self, error: ExchangeError) -> list[Any]:
        """End the stream with an error; returns the events that report it, which are the last ones."""
        release_frames(error)
        self.error, self.is_over = error, True
        self.error_events = self._format_error(error)
        error.is_in_band = bool(self.error_events)
        return self.error_events


class EventStreamResponse:
    """A response to a client whose body is a stream of events. `media_type` is its Content-Type."""

    __slots__ = ("headers", "media_type", "status", "stream")

    def __init__(self, status: int, headers: Headers, media_type: str, stream: EventStream) -> None:
        self.status = status
        self.headers = headers
        self.media_type = media_type
        self.stream = stream

    def with_headers(self, headers: Headers) -> EventStreamResponse:
        """A copy with other header fields."""
        return EventStreamResponse(self.status, headers, self.media_type, self.stream)


#: A response to a client.
Response: TypeAlias = CompleteResponse | EventStreamResponse | ByteStreamResponse


def event_stream_response(stream: EventStream, status: int, headers: dict[str, str]) -> EventStreamResponse:
    """A response whose body is a stream of events."""
    framing = FRAMINGS[stream.plan.framing]
    media_type = headers.pop("content-type", framing.media_type)
    fields = tuple({**framing.headers, **headers}.items())
    return EventStreamResponse(status, fields, media_type, stream)


def fixed_stream_response(
    plan: StreamPlan, status: int, headers: dict[str, str], events: Any
) -> EventStreamResponse:
    """A response whose events are known in advance."""
    stream = EventStream(plan, None, lambda error: [])
    event_list = events if type(events) is list else [] if events is ABSENT or events is None else [events]
    stream.first, stream.script = event_list[:1], event_list[1:]
    return event_stream_response(stream, status, headers)


class EventWriter:
    """Encodes events as bytes."""

    __slots__ = ("_encoder", "_exchange", "_has_fields", "_plan")

    def __init__(self, plan: StreamPlan, exchange: Exchange) -> None:
        self._plan = plan
        self._exchange = exchange
        self._has_fields = plan.event is not None or plan.identifier is not None
        self._encoder = FRAMINGS[plan.framing].encoder()

    def write(self, events: list[Any], stream: EventStream | None = None) -> bytes:
        """Encode events. If one cannot be encoded, `stream` fails, and its error events follow instead.

        Raises:
            ExchangeError: an event cannot be encoded, and there is no `stream` to report it in.
        """
        try:
            data = self._encoded(events)
        except (ExchangeError, JsonError):
            data = b"".join(self._encoded_until_error(events, stream))
        exchange = self._exchange
        exchange.output = left = exchange.output - len(data)
        return data if left >= 0 else self._output_exceeded(data, stream)

    def _encoded(self, events: list[Any]) -> bytes:
        encode = self._encoder.encode
        if self._has_fields:
            return b"".join(map(self._encoded_event, events))
        if len(events) == 1:
            return encode(dumps(events[0]))
        return b"".join([encode(dumps(event)) for event in events])

    def _encoded_until_error(self, events: list[Any], stream: EventStream | None) -> list[bytes]:
        """The events before the one that cannot be encoded, then the events that report the error."""
        written: list[bytes] = []
        try:
            for event in events:
                written.append(self._encoded_event(event))  # noqa: PERF401 - keeps the events before an error
        except ExchangeError as error:
            if stream is None:
                raise
            # Error events can be encoded (see `in_band_error`), except for their name: send them without one.
            if stream.error is None:
                unwritten = stream.fail(error)
            else:
                unwritten = stream.error_events[len(written) - len(events) :]
            written += [self._encoder.encode(dumps(event)) for event in unwritten]
        return written

    def _output_exceeded(self, data: bytes, stream: EventStream | None) -> bytes:
        """The bytes to send instead of events that exceed the output limit of the exchange."""
        kind = "invalid_request" if self._plan.translation is None else "upstream_error"
        error = too_many_bytes(self._exchange, self._plan.emit, kind)
        if stream is None:
            raise error
        if stream.error is not None:
            return data  # these are the error events, the last ones
        return b"".join([self._encoder.encode(dumps(event)) for event in stream.fail(error)])

    def _encoded_event(self, event: Any) -> bytes:
        name = self._field(self._plan.event, event)
        identifier = self._field(self._plan.identifier, event)
        try:
            return self._encoder.encode(dumps(event), name, identifier)
        except JsonError as error:
            message = f"an event {error.problem}"
            raise ExchangeError("upstream_error", message, cause=str(error)) from None

    def _field(self, template: Compiled | None, event: Any) -> str | None:
        """The name or the id of an event; None if it has none."""
        value = ABSENT if template is None else evaluate(template, event, self._exchange, "upstream_error")
        return None if value is ABSENT else text_of(value, "upstream_error")

    def close(self) -> bytes:
        """The end marker, if the stream has one."""
        return self._encoder.encode(self._plan.done) if self._plan.done is not None else b""

    def comment(self) -> bytes:
        """A comment that keeps the connection alive."""
        return self._encoder.comment()
