"""A stream being translated: the upstream's events in, events for the client out, state between.

Contract: pure. A batch is bytes as they came, or a list of events that another mapping has made; what comes
out is a list of JSON values. A failure does not lose what was emitted before it: it is kept as `error`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from engine.codegen import Compiled
from engine.errors import ExchangeError, call_failed
from engine.exchange.evaluation import evaluate
from engine.messages import Exchange
from engine.plan import TranslationPlan
from engine.streams import FRAMINGS, MEDIA_TYPES, Decoder, Event, FramingError
from engine.values import ABSENT, JsonError, loads

#: What an adapter hands on: bytes, events of another mapping, or None at the end.
Batch = bytes | list[Any] | None


def framing_of(media_type: str, plan: TranslationPlan) -> str | None:
    """The framing of an answer by its Content-Type; by the plan where that says nothing of it."""
    kind = media_type.partition(";")[0].strip().lower()
    return MEDIA_TYPES.get(kind) or (plan.framing if kind in ("", "text/plain") else None)


class Translation:
    """One stream.

    Attributes:
        error: why it failed; None while all is well.
        is_over: nothing more is to be read: it failed, or its end or closing word has come.
    """

    __slots__ = ("_decoder", "_exchange", "_has_event", "_plan", "error", "is_over")

    def __init__(self, plan: TranslationPlan, exchange: Exchange, framing: str) -> None:
        self.error: ExchangeError | None = None
        self.is_over = False
        self._plan = plan
        self._exchange = exchange
        self._decoder: Decoder = FRAMINGS[framing].decoder()
        self._has_event = False
        exchange.done = False
        exchange.state = {name: _first(template, exchange) for name, template in plan.state}
        exchange.sent = 0

    def feed(self, batch: Batch) -> list[Any]:
        """Take a batch; what its events emit, and the end, where it has come."""
        emitted = [] if batch is None else self._run(self._take(batch))
        if self.error is None and (batch is None or self.is_over):
            emitted = [*emitted, *self._run(self._end())]
        return emitted

    def _run(self, steps: Iterator[tuple[Compiled | None, Any]]) -> list[Any]:
        """Evaluate rules until they are done or one fails."""
        exchange = self._exchange
        out = exchange.out = []
        try:
            for rules, payload in steps:
                if rules is not None:
                    evaluate(rules, payload, exchange, "upstream_error")
        except ExchangeError as error:
            self.error, self.is_over = error, True
        except FramingError as error:
            self.error = call_failed(exchange.upstream or "", "broken", str(error))
            self.is_over = True
        exchange.sent += len(out)
        return out

    def _take(self, batch: bytes | list[Any]) -> Iterator[tuple[Compiled | None, Any]]:
        self._exchange.done = not isinstance(batch, bytes)
        values = self._values(self._decoded(batch)) if isinstance(batch, bytes) else batch
        for value in values:
            self._has_event = True
            yield self._plan.rules, value

    def _decoded(self, data: bytes) -> Iterator[Event]:
        """The events that bytes complete; those before a failure are not lost by it."""
        try:
            yield from self._decoder.feed(data)
        except FramingError as error:
            yield from error.events
            raise

    def _end(self) -> Iterator[tuple[Compiled | None, Any]]:
        if not self.is_over:
            for value in self._values(self._decoder.close()):
                self._has_event = True
                yield self._plan.rules, value
        if not self._has_event:
            raise call_failed(self._exchange.upstream or "", "broken", "a stream without an event")
        self.is_over = True
        yield self._plan.end, self._exchange.state

    def _values(self, events: Iterable[Event]) -> Iterator[Any]:
        """The events' data; the closing word ends the stream, whatever comes after it."""
        for event in events:
            if event.data == self._plan.done:
                self.is_over = self._exchange.done = True
                return
            if not self.is_over:
                yield self._parsed(event)

    def _parsed(self, event: Event) -> Any:
        try:
            return loads(event.data)
        except JsonError as error:
            raise call_failed(self._exchange.upstream or "", "broken", f"an event: {error}") from None


def _first(template: Compiled, exchange: Exchange) -> Any:
    value = evaluate(template, None, exchange, "invalid_request")
    return None if value is ABSENT else value
