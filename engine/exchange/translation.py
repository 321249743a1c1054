"""A stream being translated: the upstream's events in, events for the client out, state between.

Contract: pure. A batch is bytes as they came, or a list of events that another mapping has made; what comes
out is a list of JSON values. A failure does not lose what was emitted before it: it is kept as `error`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.codegen import Compiled
from engine.errors import ExchangeError, call_failed, release_frames
from engine.exchange.evaluation import FAILURES, evaluate, untranslatable
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
        emitted = [] if batch is None else self._emitted(self._take, batch)
        if self.error is None and (batch is None or self.is_over):
            emitted = [*emitted, *self._emitted(self._end)]
        return emitted

    def _emitted(self, step: Callable[..., None], *arguments: Any) -> list[Any]:
        """What a step emits before it is done or fails."""
        exchange = self._exchange
        out = exchange.out = []
        try:
            step(*arguments)
        except ExchangeError as error:
            release_frames(error)
            self.error, self.is_over = error, True
        except FramingError as error:
            self.error, self.is_over = self._broken(str(error)), True
        exchange.sent += len(out)
        return out

    def _take(self, batch: bytes | list[Any]) -> None:
        if isinstance(batch, bytes):
            self._exchange.done = False
            self._take_bytes(batch)
            return
        self._exchange.done = True
        for value in batch:
            self._has_event = True
            self._run(self._plan.rules, value)

    def _take_bytes(self, data: bytes) -> None:
        try:
            events = self._decoder.feed(data)
        except FramingError as error:
            # Those before a failure are not lost by it.
            self._take_events(error.events)
            raise
        self._take_events(events)

    def _take_events(self, events: Iterable[Event]) -> None:
        """Run the rules on each; the closing word ends the stream, whatever comes after it."""
        plan, exchange = self._plan, self._exchange
        done, rules = plan.done, None if plan.rules is None else plan.rules.function
        for data, _ in events:
            if data == done:
                self.is_over = exchange.done = True
                return
            try:
                value = loads(data)
            except JsonError as error:
                raise self._broken(f"an event: {error}") from None
            self._has_event = True
            if rules is not None:
                try:
                    rules(value, exchange)
                except FAILURES as error:
                    raise untranslatable(error, "upstream_error") from None

    def _end(self) -> None:
        if not self.is_over:
            self._take_events(self._decoder.close())
        if not self._has_event:
            raise self._broken("a stream without an event")
        self.is_over = True
        self._run(self._plan.end, self._exchange.state)

    def _run(self, rules: Compiled | None, payload: Any) -> None:
        if rules is not None:
            evaluate(rules, payload, self._exchange, "upstream_error")

    def _broken(self, cause: str) -> ExchangeError:
        return call_failed(self._exchange.upstream or "", "broken", cause)


def _first(template: Compiled, exchange: Exchange) -> Any:
    value = evaluate(template, None, exchange, "invalid_request")
    return None if value is ABSENT else value
