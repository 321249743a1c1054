"""A stream being translated: the upstream's events in, events for the client out, state between.

Contract: pure. A batch is bytes as they came, or a list of events that another mapping has made; what comes
out is a list of JSON values. A failure does not lose what was emitted before it: it is kept as `error`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.codecs import FRAMINGS, MEDIA_TYPES, Decoder, Event, FramingError
from engine.errors import ExchangeError, call_failed, release_frames
from engine.exchange.evaluation import FAILURES, evaluate, untranslatable
from engine.exchange.exchange import Exchange
from engine.http.messages import UNMEASURED
from engine.language.codegen import Compiled
from engine.language.stream_state import release_all
from engine.plan import TranslationPlan
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

    __slots__ = ("_count", "_decoder", "_exchange", "_plan", "error", "is_over")

    def __init__(self, plan: TranslationPlan, exchange: Exchange, framing: str) -> None:
        self.error: ExchangeError | None = None
        self.is_over = False
        self._plan = plan
        self._exchange = exchange
        self._decoder: Decoder = FRAMINGS[framing].decoder()
        self._count = 0
        exchange.done = False
        # What the state comes to hold can be larger than all that was read together.
        exchange.received = UNMEASURED
        exchange.state = {name: _first(template, exchange) for name, template in plan.state}
        exchange.sent = 0

    def feed(self, batch: Batch) -> list[Any]:
        """Take a batch; what its events emit, and the end, where it has come."""
        emitted = [] if batch is None else self._emitted(self._take, batch)
        if self.error is None and (batch is None or self.is_over):
            emitted = [*emitted, *self._emitted(self._end, None)]
        return emitted

    def _emitted(self, step: Callable[[Any], None], batch: Batch) -> list[Any]:
        """What a step emits before it is done or fails."""
        exchange = self._exchange
        out = exchange.out = []
        try:
            step(batch)
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
            # Those before a failure are not lost by it.
            self._take_events(error.events)
            raise
        self._take_events(events)

    def _take_values(self, values: list[Any]) -> None:
        self._exchange.done = True
        self._count += len(values)
        for value in values:
            self._run(self._plan.rules, value)

    def _take_events(self, events: Iterable[Event]) -> None:
        """Run the rules on each; the closing word ends the stream, whatever comes after it. Data that is
        white space alone is no event."""
        plan, exchange, count = self._plan, self._exchange, self._count
        done, rules = plan.done, None if plan.rules is None else plan.rules.function
        for data, _ in events:
            if data == done:
                self.is_over = exchange.done = True
                break
            try:
                value = loads(data)
            except JsonError as error:
                if not data.strip():
                    continue
                where = f"event {count + 1}"
                what = f"sent an event that is not JSON ({where})"
                raise self._unusable(what, f"{where}: invalid JSON, {error}") from None
            count += 1
            if rules is not None:
                try:
                    rules(value, exchange)
                except FAILURES as error:
                    raise untranslatable(error, "upstream_error") from None
        self._count = count

    def _end(self, _: None) -> None:
        if not self.is_over:
            self._take_events(self._decoder.close())
        if not self._count:
            raise self._unusable("sent a stream without an event", "no event")
        self.is_over = True
        release_all(self._exchange)
        self._run(self._plan.end, self._exchange.state)

    def _run(self, rules: Compiled | None, payload: Any) -> None:
        if rules is not None:
            evaluate(rules, payload, self._exchange, "upstream_error")

    def _unusable(self, what: str, cause: str) -> ExchangeError:
        return call_failed(self._exchange.upstream or "", "broken", cause, what)


def _first(template: Compiled, exchange: Exchange) -> Any:
    value = evaluate(template, None, exchange, "invalid_request")
    return None if value is ABSENT else value
