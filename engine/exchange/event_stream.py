"""The answer that is a stream: what goes to the client, event by event, and how it is written.

Contract: pure. `EventStream` is fed what the upstream sends and gives events; `EventWriter` makes bytes of
them. After a failure comes the error in the client's error format and nothing more: never an end marker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.codecs import FRAMINGS
from engine.errors import ExchangeError, release_frames
from engine.exchange.evaluation import evaluate, text_of
from engine.exchange.exchange import Exchange
from engine.exchange.output_limits import too_many_bytes
from engine.exchange.stream_translation import Batch, Translation
from engine.http.messages import Content, Response
from engine.plan import StreamPlan
from engine.values import ABSENT, JsonError, dumps

#: A failure as events of the client's dialect.
Tell = Callable[[ExchangeError], list[Any]]


class EventStream:
    """Events for one client.

    Attributes:
        plan: framing, names and times.
        first: the events that were there when the status went out.
        script: events that are known beforehand, to be sent one by one.
        is_over: no event will come from the upstream any more.
        error: why it failed, or None.
        error_events: the events that report it; empty where there is no way to report it in band.
    """

    __slots__ = ("_tell", "_translation", "error", "error_events", "first", "is_over", "plan", "script")

    def __init__(self, plan: StreamPlan, translation: Translation | None, tell: Tell) -> None:
        self.plan = plan
        self.first: list[Any] = []
        self.script: list[Any] = []
        self.is_over = translation is None
        self.error: ExchangeError | None = None
        self.error_events: list[Any] = []
        self._translation = translation
        self._tell = tell

    def feed(self, batch: Batch) -> list[Any]:
        """Take what the upstream sent, None at its end; the events that follow from it."""
        translation = self._translation
        assert translation is not None
        events = translation.feed(batch)
        if translation.error is not None:
            return [*events, *self.fail(translation.error)]
        self.is_over = translation.is_over
        return events

    def fail(self, error: ExchangeError) -> list[Any]:
        """The upstream broke off: the events that tell of it, the last ones."""
        release_frames(error)
        self.error, self.is_over = error, True
        self.error_events = self._tell(error)
        error.is_in_band = bool(self.error_events)
        return self.error_events


def outbound_stream(stream: EventStream, status: int, headers: dict[str, str]) -> Response:
    """The answer whose body is a stream."""
    framing = FRAMINGS[stream.plan.framing]
    media_type = headers.pop("content-type", framing.media_type)
    if stream.plan.framing == "sse":
        # Caches and proxies in between would hold events back.
        headers = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no", **headers}
    return Response(status, tuple(headers.items()), Content(b"", media_type), stream)


def written_out(plan: StreamPlan, status: int, headers: dict[str, str], events: Any) -> Response:
    """The answer whose events are known beforehand."""
    stream = EventStream(plan, None, lambda error: [])
    listed = events if type(events) is list else [] if events is ABSENT or events is None else [events]
    stream.first, stream.script = listed[:1], listed[1:]
    return outbound_stream(stream, status, headers)


class EventWriter:
    """Events → bytes."""

    __slots__ = ("_encoder", "_exchange", "_plan")

    def __init__(self, plan: StreamPlan, exchange: Exchange) -> None:
        self._plan = plan
        self._exchange = exchange
        self._encoder = FRAMINGS[plan.framing].encoder()

    def write(self, events: list[Any], stream: EventStream | None = None) -> bytes:
        """Events as they go out, in one piece. One that cannot be written is a failure of its `stream`.

        Raises:
            ExchangeError: an event cannot be written, and there is no stream to tell that in.
        """
        try:
            data = self._all_written(events)
        except (ExchangeError, JsonError):
            data = b"".join(self._written_until_failure(events, stream))
        exchange = self._exchange
        exchange.output = left = exchange.output - len(data)
        return data if left >= 0 else self._too_much(data, stream)

    def _all_written(self, events: list[Any]) -> bytes:
        encode = self._encoder.encode
        if self._plan.event is not None:
            return b"".join(map(self._written, events))
        if len(events) == 1:
            return encode(dumps(events[0]))
        return b"".join([encode(dumps(event)) for event in events])

    def _written_until_failure(self, events: list[Any], stream: EventStream | None) -> list[bytes]:
        """Events of which one cannot be written: those before it, and the failure that this is."""
        written: list[bytes] = []
        try:
            for event in events:
                written.append(self._written(event))  # noqa: PERF401 - those before a failure are kept
        except ExchangeError as error:
            if stream is None:
                raise
            # Error events can be written (`told_in_band`), only their name may fail: they go out without one.
            if stream.error is None:
                unwritten = stream.fail(error)
            else:
                unwritten = stream.error_events[len(written) - len(events) :]
            written += [self._encoder.encode(dumps(event)) for event in unwritten]
        return written

    def _too_much(self, data: bytes, stream: EventStream | None) -> bytes:
        """What goes out instead of events that are more than the exchange may write."""
        translation = self._plan.translation
        template, kind = self._plan.emit, "invalid_request"
        if translation is not None:
            template, kind = translation.rules, "upstream_error"
        error = too_many_bytes(self._exchange, template, kind)
        if stream is None:
            raise error
        if stream.error is not None:
            return data  # it reports an error, and is the last
        return b"".join([self._encoder.encode(dumps(event)) for event in stream.fail(error)])

    def _written(self, event: Any) -> bytes:
        name = None if self._plan.event is None else self._name(event)
        try:
            return self._encoder.encode(dumps(event), name)
        except JsonError as error:
            message = f"an event {error.problem}"
            raise ExchangeError("upstream_error", message, cause=str(error)) from None

    def _name(self, event: Any) -> str | None:
        assert self._plan.event is not None
        name = evaluate(self._plan.event, event, self._exchange, "upstream_error")
        return None if name is ABSENT else text_of(name, "upstream_error")

    def close(self) -> bytes:
        """The closing word, where there is one."""
        return self._encoder.encode(self._plan.done) if self._plan.done is not None else b""

    def comment(self) -> bytes:
        """What keeps the connection alive."""
        return self._encoder.comment()
