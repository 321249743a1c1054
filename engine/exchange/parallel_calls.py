"""Concurrent calls of one attempt; a call waits only for the calls that it reads.

Contract: the result of each call is in `exchange.calls`; the response of the last call is the response of the
exchange. A failure names its call and cancels the others, unless the call has `on_error: continue`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.errors import ExchangeError
from engine.exchange.caching import from_cached, is_response_cacheable, request_key, to_cached
from engine.exchange.call import build_request, is_made, select_upstream
from engine.exchange.effects import Branch, CacheLookup, CacheStore, Effects, ReadContent, RunParallel
from engine.exchange.errors import error_of_response
from engine.exchange.evaluation import evaluate
from engine.exchange.exchange import Exchange
from engine.exchange.reports import add_inner_dropped
from engine.exchange.response import is_failure, read_upstream_body
from engine.exchange.retry import send
from engine.exchange.unread_fields import refuse_dropped
from engine.http.fields import joined
from engine.http.messages import UpstreamRequest, UpstreamResponse
from engine.plan import AttemptPlan, CallPlan, MappingPlan, RoutePlan, UpstreamPlan

#: The maximum number of calls for one `each` list.
MAX_EACH = 1000


def make_calls(
    mapping: MappingPlan,
    route: RoutePlan,
    calls: tuple[CallPlan, ...],
    exchange: Exchange,
    attempt: AttemptPlan | None = None,
) -> Effects[CallPlan | None]:
    """Make all these calls. With an `attempt`, the response of the last call is the response of the attempt.

    Returns:
        The last call, if `exchange.upstream_response` has its response; else None.

    Raises:
        ExchangeError: a call without `on_error: continue` failed.
    """
    exchange.calls = {call.name: [] if call.each else _no_result() for call in calls}
    # Evaluate the conditions that read no other call here, once, so that nothing runs if no call is left.
    wanted = tuple(call for call in calls if call.needs or is_made(call, exchange))
    if wanted:
        main = calls[-1] if attempt is not None else None
        streams = attempt is not None and attempt.streams
        yield from RunParallel(
            tuple(_ParallelCalls(mapping, route, wanted, exchange, main, streams).branches())
        )
    return calls[-1] if exchange.upstream_response is not None else None


def _no_result() -> dict[str, Any]:
    return {"status": None, "headers": None, "body": None, "error": None}


class _ParallelCalls:
    """The calls of one attempt.

    Attributes:
        main: the call whose response is the response of the attempt.
        streams: the response to the client may be made from the events of `main`.
    """

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
        """A branch for each call, after the branches of the calls that it needs."""
        left = {call.name: call for call in self.calls}
        while left:
            ready = [call for call in left.values() if not call.needs & left.keys()]
            for call in ready:
                needs = frozenset(other.name for other in self.calls if other.name in call.needs)
                yield Branch(call.name, needs, self._call_branch(call))
                del left[call.name]

    def _call_branch(self, call: CallPlan) -> Effects[None]:
        if call.needs and not is_made(call, self.exchange):
            return
        if call.each is None:
            is_main = call is self.main
            self.exchange.calls[call.name] = yield from self._make_call(call, self.exchange.body, 0, is_main)
            return
        kind = call.kind("each")
        items = evaluate(call.each, self.exchange.body, self.exchange, kind)
        items = items if type(items) is list else []
        if len(items) > MAX_EACH:
            raise _naming_call(call, ExchangeError(kind, f"'each' has more than {MAX_EACH} items"))
        results: list[Any] = [None] * len(items)
        self.exchange.calls[call.name] = results
        yield from RunParallel(tuple(self._item_branches(call, items, results)), call.parallel)

    def _item_branches(self, call: CallPlan, items: list[Any], results: list[Any]) -> Iterator[Branch]:
        for number, item in enumerate(items):
            yield Branch(str(number), frozenset(), self._item_branch(call, item, number, results))

    def _item_branch(self, call: CallPlan, item: Any, number: int, results: list[Any]) -> Effects[None]:
        results[number] = yield from self._make_call(call, item, number, False)

    def _make_call(self, call: CallPlan, payload: Any, number: int, is_main: bool) -> Effects[dict[str, Any]]:
        """Make one call; returns its entry in `$calls`."""
        try:
            upstream, request = self._request(call, payload, number)
            key = None if call.cache is None else request_key(self.mapping, upstream, request)
            cached = None if key is None else (yield from CacheLookup(key))
            if cached:
                response = from_cached(cached)
                add_inner_dropped(self.exchange, upstream, response.report)
            else:
                streams = is_main and self.streams
                response = yield from send(self.mapping, upstream, request, self.exchange, streams)
            self._note_response(call, upstream, response, is_main)
            if response.source is not None and self.exchange.upstream_response is not response:
                response.content = yield from ReadContent(response.source, call.max_bytes)
            result = self._result(call, response, is_main)
            if key is not None and cached is None and is_response_cacheable(response):
                yield from CacheStore(key, to_cached(response), call.cache or 0.0)
            return result
        except ExchangeError as error:
            return self._failed(call, error, is_main)

    def _request(self, call: CallPlan, payload: Any, number: int) -> tuple[UpstreamPlan, UpstreamRequest]:
        self.exchange.index = number
        upstream = select_upstream(call.upstream, payload, self.exchange)
        request = build_request(self.route, call, upstream, self.exchange, payload)
        refuse_dropped(self.route, self.exchange)
        return upstream, request

    def _note_response(
        self, call: CallPlan, upstream: UpstreamPlan, response: UpstreamResponse, is_main: bool
    ) -> None:
        self.exchange.upstream = upstream.name
        if is_main and not (call.continues_on_error and is_failure(response)):
            self.exchange.upstream_response = response

    def _failed(self, call: CallPlan, error: ExchangeError, is_main: bool) -> dict[str, Any]:
        """The entry in `$calls` for a failed call.

        Raises:
            ExchangeError: the error itself, unless the call has `on_error: continue`.
        """
        if not call.continues_on_error:
            raise _naming_call(call, error) from None
        if is_main:
            self.exchange.upstream_response = None
        status = error.upstream["status"] if error.upstream else None
        return {**_no_result(), "status": status, "error": _error_object(error)}

    def _result(self, call: CallPlan, response: UpstreamResponse, is_main: bool) -> dict[str, Any]:
        """The entry in `$calls` for a response. The response cases of the attempt decide whether the response
        of the main call is an error."""
        result = {
            **_no_result(),
            "status": response.status,
            "headers": joined(response.headers),
        }
        is_handled_by_cases = is_main and self.exchange.upstream_response is response
        if not is_failure(response):
            if not is_handled_by_cases or (
                response.source is None and (call.reads_upstream_body or call.continues_on_error)
            ):
                result["body"] = read_upstream_body(call, self.exchange, response, call.reads_upstream_body)
        elif not is_handled_by_cases:
            failure = error_of_response(self.exchange.upstream, response)
            if not call.continues_on_error:
                raise failure
            self.exchange.received += response.content.max_size
            result["error"] = _error_object(failure)
        return result


def _error_object(error: ExchangeError) -> dict[str, Any]:
    body = error.upstream["body"] if error.upstream else None
    return {"kind": error.kind, "status": error.status, "message": error.message, "body": body}


def _naming_call(call: CallPlan, error: ExchangeError) -> ExchangeError:
    """The error, with the name of its call in the message."""
    error.message = f"the call '{call.name}': {error.message}"
    return error
