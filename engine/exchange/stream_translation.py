"""The translation of a stream: the upstream's events → events for the client, with state in between.

Contract: pure. The input is bytes as received, or a list of events of another mapping; the output is a list
of JSON values. An error is stored in `error`, so that the events emitted before it are not lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.codecs import FRAMINGS, Decoder, Event, FramingError
from engine.errors import ExchangeError, call_failed, release_frames
from engine.exchange.evaluation import EVALUATION_ERRORS, evaluate, translation_error
from engine.exchange.exchange import NO_EVENT, Exchange
from engine.http.messages import UNKNOWN_SIZE, Batch
from engine.language.codegen import Compiled
from engine.language.stream_state import release_all
from engine.plan import TranslationPlan
from engine.values import ABSENT, JsonError, loads


class Translation:
    """The translation of one stream.

    Attributes:
        error: why it failed, or None.
        is_over: nothing more is to be read: it failed, ended, or sent its end marker.
    """

    __slots__ = ("_count", "_decoder", "_exchange", "_plan", "_process", "error", "is_over")

    def __init__(self, plan: TranslationPlan, exchange: Exchange, framing: str) -> None:
        self.error: ExchangeError | None = None
        self.is_over = False
        self._plan = plan
        self._exchange = exchange
        self._decoder: Decoder = FRAMINGS[framing].decoder()
        process = exchange.take if plan.rules is None else plan.rules.function
        assert process is not None, "without rules, the events are partial responses"
        self._process: Callable[[Any, Any], Any] = process
        self._count = 0
        exchange.done = False
        exchange.event = NO_EVENT
        # The state can grow larger than everything that was read.
        exchange.received = UNKNOWN_SIZE
        exchange.state = {name: _initial_value(template, exchange) for name, template in plan.state}
        exchange.sent = 0

    def feed(self, batch: Batch) -> list[Any]:
        """Process a batch, None at the end; returns the emitted events."""
        emitted = [] if batch is None else self._emitted(self._take, batch)
        if self.error is None and (batch is None or self.is_over):
            emitted = [*emitted, *self._emitted(self._end, None)]
        return emitted

    def _emitted(self, consume: Callable[[Any], None], batch: Batch) -> list[Any]:
        """The events that `consume` emits before it returns or fails."""
        exchange = self._exchange
        out = exchange.out = []
        try:
            consume(batch)
        except ExchangeError as error:
            release_frames(error)
            self.error, self.is_over = error, True
        except FramingError as error:
            cause = f"event {self._count + 1}: {error}"
            self.error, self.is_over = self._unusable(f"sent {error}", cause), True
        exchange.sent += len(out)
        return out

    def _take(self, batch: bytes | list[Any]) -> None:
        if isinstance(batch, list):
            self._take_values(batch)
            return
        self._exchange.done = False
        try:
            events = self._decoder.feed(batch)
        except FramingError as error:
            # Do not lose the events before the error.
            self._take_events(error.events)
            raise
        self._take_events(events)

    def _take_values(self, values: list[Any]) -> None:
        self._exchange.done = True
        self._count += len(values)
        process = self._process
        for value in values:
            try:
                process(value, self._exchange)
            except EVALUATION_ERRORS as error:
                raise translation_error(error, "upstream_error") from None

    def _take_events(self, events: Iterable[Event]) -> None:
        """Run the rules on each event; the end marker ends the stream, whatever follows. Data that is only
        white space is ignored."""
        exchange, count, done, process = self._exchange, self._count, self._plan.done, self._process
        for event in events:
            data = event[0]
            if data == done:
                self.is_over = exchange.done = True
                break
            try:
                value = loads(data)
            except JsonError as error:
                if not data.strip():
                    continue
                value = self._text(data, count + 1, error)
            count += 1
            exchange.event = event
            try:
                process(value, exchange)
            except EVALUATION_ERRORS as error:
                raise translation_error(error, "upstream_error") from None
        self._count = count

    def _text(self, data: bytes, number: int, problem: JsonError) -> str:
        """The data of an event that is not JSON."""
        if self._plan.takes_text:
            return data.decode("utf-8", "replace")
        where = f"event {number}"
        what = f"sent an event that is not JSON ({where})"
        raise self._unusable(what, f"{where}: invalid JSON, {problem}")

    def _end(self, _: None) -> None:
        if not self.is_over:
            self._take_events(self._decoder.close())
        if not self._count:
            raise self._unusable("sent a stream without events", "no events")
        if self._plan.needs_done and not self._exchange.done:
            raise self._unusable("ended its stream early", "the stream has no end marker")
        self.is_over = True
        release_all(self._exchange)
        for end in self._plan.ends:
            evaluate(end, None, self._exchange, "upstream_error")

    def _unusable(self, what: str, cause: str) -> ExchangeError:
        return call_failed(self._exchange.upstream or "", "broken", cause, what)


def _initial_value(template: Compiled, exchange: Exchange) -> Any:
    value = evaluate(template, None, exchange, "invalid_request")
    return None if value is ABSENT else value
