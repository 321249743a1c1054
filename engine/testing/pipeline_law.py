"""The law of pipelines: translating the merged parts equals merging the translated parts.

Contract: checked in every case with a stream whose writer has `merge`, on the stub response of the case. Null
and an absent field are the same. Must not know how a case runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.codecs import MEDIA_TYPES
from engine.errors import ExchangeError
from engine.exchange import ExchangeResult, Translation, evaluate
from engine.exchange.exchange import Exchange
from engine.http.messages import UpstreamResponse
from engine.language.merging import merge_parts
from engine.plan import CasePlan, PipelinePlan
from engine.testing.expectations import Mismatch, below, shown


def law_mismatches(result: ExchangeResult, response: UpstreamResponse | None) -> Iterator[Mismatch]:
    """Where the two ways to translate a stream differ; the first field that does."""
    case = _case(result)
    if case is None or case.pipeline is None or response is None:
        return
    plan = case.pipeline
    framing = MEDIA_TYPES.get(response.content.media_type.partition(";")[0].strip(), plan.read.framing)
    if plan.client_merge is None or framing is None or result.error is not None:
        return
    exchange = _copy(result.exchange, response)
    try:
        parts = _parts(plan, exchange, framing, response.content.data)
        whole = _translated(plan, exchange, merge_parts(parts, plan.merge), is_partial=False)
        translated = [_translated(plan, exchange, part, is_partial=True) for part in parts]
    except ExchangeError:
        return  # the case has the error too, and expects it or not
    found = _difference("", whole, merge_parts(translated, plan.client_merge))
    if found is not None:
        yield _mismatch(plan, *found)


def _mismatch(plan: PipelinePlan, path: str, one: Any, other: Any) -> Mismatch:
    message = f"the merged parts translate to {_shown(one)}, the translated parts merge to {_shown(other)}"
    return Mismatch(f"pipeline: {path or 'the response'}", message, plan.span)


def _case(result: ExchangeResult) -> CasePlan | None:
    if result.route is None or result.exchange.case is None:
        return None
    return result.route.cases[result.exchange.case]


def _copy(exchange: Exchange, response: UpstreamResponse) -> Exchange:
    """A new exchange with the same request and response."""
    copy = Exchange(exchange.inbound, exchange.params, exchange.limits)
    copy.body, copy.calls, copy.upstream = exchange.body, exchange.calls, exchange.upstream
    copy.upstream_response = response
    return copy


def _parts(plan: PipelinePlan, exchange: Exchange, framing: str, data: bytes) -> list[Any]:
    parts: list[Any] = []

    def take(part: Any, exchange: Exchange) -> None:
        parts.append(part)

    exchange.take = take
    translation = Translation(plan.read, exchange, framing)
    translation.feed(data)
    if not translation.is_over:
        translation.feed(None)
    if translation.error is not None:
        raise translation.error
    return parts


def _translated(plan: PipelinePlan, exchange: Exchange, value: Any, is_partial: bool) -> Any:
    exchange.is_partial = is_partial
    return evaluate(plan.translate, value, exchange, "upstream_error")


def _difference(path: str, one: Any, other: Any) -> tuple[str, Any, Any] | None:
    """The first path at which two values differ, and the values there."""
    if type(one) is dict and type(other) is dict:
        names = dict.fromkeys((*one, *other))
        found = (_difference(below(path, name), one.get(name), other.get(name)) for name in names)
        return next(filter(None, found), None)
    if type(one) is list and type(other) is list and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        found = (_difference(f"{path}[{number}]", *pair) for number, pair in pairs)
        return next(filter(None, found), None)
    return None if one == other else (path, one, other)


def _shown(value: Any) -> str:
    return "nothing" if value is None else shown(value)
