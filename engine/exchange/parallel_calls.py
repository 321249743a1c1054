"""Several calls of one attempt, made at the same time as far as they do not wait for each other.

Contract: what came of each stands in `exchange.calls`; the reply of the last one is the exchange's own. A
failure names the call, and ends the others, unless the call continues.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from engine.errors import ExchangeError
from engine.exchange.caching import from_cached, is_response_cacheable, request_key, to_cached
from engine.exchange.call import build_request, is_made, select_upstream
from engine.exchange.effects import Branch, CacheLookup, CacheStore, ReadContent, RunParallel, Step
from engine.exchange.errors import error_of_response
from engine.exchange.evaluation import evaluate
from engine.exchange.exchange import Exchange
from engine.exchange.response import is_failure, read_upstream_body
from engine.exchange.retry import send
from engine.exchange.unread_fields import refuse_dropped
from engine.http.fields import joined
from engine.http.messages import UpstreamRequest, UpstreamResponse
from engine.plan import AttemptPlan, CallPlan, MappingPlan, RoutePlan, UpstreamPlan

#: The most calls that one list can ask for.
MAX_EACH = 1000


def make_calls(
    mapping: MappingPlan,
    route: RoutePlan,
    calls: tuple[CallPlan, ...],
    exchange: Exchange,
    attempt: AttemptPlan | None = None,
) -> Generator[Step, Any, CallPlan | None]:
    """Make all these calls; the answer of the last one is that of `attempt`, where one is given.

    Returns:
        The last call where it was answered, with its reply in `exchange.reply`; else None.

    Raises:
        ExchangeError: a call failed that does not continue.
    """
    exchange.calls = {call.name: [] if call.each else _nothing() for call in calls}
    # What reads no other call is asked here, once: where nothing is left, no calls are gone through at all.
    wanted = tuple(call for call in calls if call.needs or is_made(call, exchange))
    if wanted:
        main = calls[-1] if attempt is not None else None
        streams = attempt is not None and attempt.streams
        yield RunParallel(tuple(_Making(mapping, route, wanted, exchange, main, streams).branches()))
    return calls[-1] if exchange.upstream_response is not None else None


def _nothing() -> dict[str, Any]:
    return {"status": None, "headers": None, "body": None, "error": None}


class _Making:
    """The calls of one attempt being made. `main` is the one whose answer is that of the attempt; `streams`:
    that may be made from its events."""

    def __init__(
        self,
        mapping: MappingPlan,
        route: RoutePlan,
        calls: tuple[CallPlan, ...],
        exchange: Exchange,
        main: CallPlan | None,
        streams: bool,
    ) -> None:
        self.mapping = mapping
        self.route = route
        self.calls = calls
        self.exchange = exchange
        self.main = main
        self.streams = streams

    def branches(self) -> Iterator[Branch]:
        """A branch for each call, after those of the calls that it waits for."""
        left = {call.name: call for call in self.calls}
        while left:
            ready = [call for call in left.values() if not call.needs & left.keys()]
            for call in ready:
                needs = frozenset(other.name for other in self.calls if other.name in call.needs)
                yield Branch(call.name, needs, self._call(call))
                del left[call.name]

    def _call(self, call: CallPlan) -> Generator[Step, Any, None]:
        if call.needs and not is_made(call, self.exchange):
            return
        if call.each is None:
            is_main = call is self.main
            self.exchange.calls[call.name] = yield from self._one(call, self.exchange.body, 0, is_main)
            return
        kind = call.kind("each")
        items = evaluate(call.each, self.exchange.body, self.exchange, kind)
        items = items if type(items) is list else []
        if len(items) > MAX_EACH:
            raise _named(call, ExchangeError(kind, f"more than {MAX_EACH} calls are asked for"))
        results: list[Any] = [None] * len(items)
        self.exchange.calls[call.name] = results
        yield RunParallel(tuple(self._items(call, items, results)), call.parallel)

    def _items(self, call: CallPlan, items: list[Any], results: list[Any]) -> Iterator[Branch]:
        for number, item in enumerate(items):
            yield Branch(str(number), frozenset(), self._item(call, item, number, results))

    def _item(self, call: CallPlan, item: Any, number: int, results: list[Any]) -> Generator[Step, Any, None]:
        results[number] = yield from self._one(call, item, number, False)

    def _one(
        self, call: CallPlan, payload: Any, number: int, is_main: bool
    ) -> Generator[Step, Any, dict[str, Any]]:
        """One call, and what `$calls` shows of it."""
        try:
            upstream, request = self._request(call, payload, number)
            key = None if call.cache is None else request_key(self.mapping, request)
            kept = None if key is None else (yield CacheLookup(key))
            if kept:
                response = from_cached(kept)
            else:
                streams = is_main and self.streams
                response = yield from send(self.mapping, upstream, request, self.exchange, streams)
            self._note(call, upstream, response, is_main)
            if response.source is not None and self.exchange.upstream_response is not response:
                response.content = yield ReadContent(response.source, call.max_bytes)
            result = self._result(call, response, is_main)
            if key is not None and kept is None and is_response_cacheable(response):
                yield CacheStore(key, to_cached(response), call.cache or 0.0)
            return result
        except ExchangeError as error:
            return self._failed(call, error, is_main)

    def _request(self, call: CallPlan, payload: Any, number: int) -> tuple[UpstreamPlan, UpstreamRequest]:
        self.exchange.index = number
        upstream = select_upstream(call.upstream, payload, self.exchange)
        request = build_request(self.route, call, upstream, self.exchange, payload)
        refuse_dropped(self.route, self.exchange)
        return upstream, request

    def _note(
        self, call: CallPlan, upstream: UpstreamPlan, response: UpstreamResponse, is_main: bool
    ) -> None:
        self.exchange.upstream = upstream.name
        if is_main and not (call.continues_on_error and is_failure(response)):
            self.exchange.upstream_response = response

    def _failed(self, call: CallPlan, error: ExchangeError, is_main: bool) -> dict[str, Any]:
        """What `$calls` shows of a call that failed; it is raised, unless the call continues."""
        if not call.continues_on_error:
            raise _named(call, error) from None
        if is_main:
            self.exchange.upstream_response = None
        status = error.upstream["status"] if error.upstream else None
        return {**_nothing(), "status": status, "error": _told(error)}

    def _result(self, call: CallPlan, response: UpstreamResponse, is_main: bool) -> dict[str, Any]:
        """What `$calls` shows of a reply; that of the last call is left to its answers to judge."""
        result = {
            **_nothing(),
            "status": response.status,
            "headers": joined(response.headers),
        }
        is_judged_later = is_main and self.exchange.upstream_response is response
        if not is_failure(response):
            if not is_judged_later or (
                response.source is None and (call.reads_upstream_body or call.continues_on_error)
            ):
                result["body"] = read_upstream_body(call, self.exchange, response, call.reads_upstream_body)
        elif not is_judged_later:
            failure = error_of_response(self.exchange.upstream, response)
            if not call.continues_on_error:
                raise failure
            self.exchange.received += response.content.most
            result["error"] = _told(failure)
        return result


def _told(error: ExchangeError) -> dict[str, Any]:
    body = error.upstream["body"] if error.upstream else None
    return {"kind": error.kind, "status": error.status, "message": error.message, "body": body}


def _named(call: CallPlan, error: ExchangeError) -> ExchangeError:
    """A failure that says which call it is of."""
    error.message = f"the call '{call.name}': {error.message}"
    return error
