"""Responses of pipelines: a reader, templates and a writer, for streams and for complete responses.

    upstream sends   client wants   what runs
    events           events         reader → templates → writer, for each event
    JSON             JSON           `complete`, the templates
    events           JSON           the reader; its partial responses are merged; then the templates
    JSON             events         `complete`, the templates, the writer once, then its `end`

Contract: the Content-Type of the upstream's response decides the row, and `stream_when` the client's side. A
client that wants JSON receives errors in the mapping's error format, whatever the upstream sent.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from engine.codecs import MEDIA_TYPES
from engine.exchange.effects import Effects, ReadContent
from engine.exchange.errors import unusable_response
from engine.exchange.evaluation import evaluate
from engine.exchange.event_stream import Response
from engine.exchange.exchange import Exchange, Take
from engine.exchange.output_limits import check_size, take_output
from engine.exchange.response import check_body, head_of, read_upstream_body
from engine.exchange.response_content import make_response
from engine.exchange.stream_response import Batches, begin_stream, new_event_stream, read_to_end
from engine.exchange.stream_translation import Translation
from engine.exchange.usage_counts import FAILURES, note_usage, usage_counts
from engine.http.media_types import is_json
from engine.http.messages import UpstreamResponse
from engine.language.budget import take_value
from engine.language.merging import PartMerger
from engine.plan import CallPlan, CasePlan, MappingPlan, PipelinePlan, RoutePlan, TranslationPlan
from engine.values import truth


def build_pipeline_response(
    mapping: MappingPlan, route: RoutePlan, call: CallPlan, case: CasePlan, exchange: Exchange
) -> Effects[Response]:
    """The response of a pipeline to the 2xx response in `exchange.upstream_response`.

    Raises:
        ExchangeError: the upstream's response cannot be translated, or failed before the status was sent.
    """
    plan, response = case.pipeline, exchange.upstream_response
    assert plan is not None
    assert response is not None
    exchange.usage = {}
    framing = _framing(response, plan.read, exchange)
    if not _wants_events(plan, exchange):
        whole = yield from _whole(plan, route, call, exchange, response, framing)
        return _complete_response(plan, case, exchange, whole)
    batches = Batches(response, framing)
    if framing is None:
        batches.take_complete((yield from _complete(plan, call, exchange, response)))
    return (yield from _stream(mapping, route, case, exchange, response, batches))


def _wants_events(plan: PipelinePlan, exchange: Exchange) -> bool:
    """Whether the client wants events."""
    wanted = plan.stream_when
    return wanted is not None and truth(evaluate(wanted, None, exchange, "invalid_request"))


def _framing(response: UpstreamResponse, plan: TranslationPlan, exchange: Exchange) -> str | None:
    """The framing of the upstream's events; None for JSON.

    Raises:
        ExchangeError: the Content-Type is neither, and the reader has no `from`.
    """
    if response.source is None:
        return None
    media_type = response.header("content-type") or ""
    kind = media_type.partition(";")[0].strip().lower()
    if kind in MEDIA_TYPES or is_json(media_type):
        return MEDIA_TYPES.get(kind)
    if plan.framing is None:
        sent = f"sent '{kind[:64]}'" if kind else "sent no Content-Type"
        raise unusable_response(exchange, f"the upstream {sent} instead of JSON or a stream", "Content-Type")
    return plan.framing


# --- Complete responses ----------------------------------------------------------------------------------


def _complete(
    plan: PipelinePlan, call: CallPlan, exchange: Exchange, response: UpstreamResponse
) -> Effects[Any]:
    """The upstream's complete response in the shape of the reader's parts."""
    if response.source is not None:
        response.content = yield from ReadContent(response.source, call.max_bytes)
    exchange.upstream_body = read_upstream_body(call, exchange, response, True)
    if plan.complete is None:
        return exchange.upstream_body
    return evaluate(plan.complete, exchange.upstream_body, exchange, "upstream_error")


def _whole(
    plan: PipelinePlan,
    route: RoutePlan,
    call: CallPlan,
    exchange: Exchange,
    response: UpstreamResponse,
    framing: str | None,
) -> Effects[Any]:
    """The complete response, of which `usage` of the route has been evaluated."""
    if framing is not None:
        return (yield from _merged(plan, route, call, exchange, Batches(response, framing)))
    whole = yield from _complete(plan, call, exchange, response)
    if route.usage is not None:
        exchange.usage = usage_counts(route.usage, whole, exchange)
    return whole


def _merged(
    plan: PipelinePlan, route: RoutePlan, call: CallPlan, exchange: Exchange, batches: Batches
) -> Effects[Any]:
    """The complete response of an upstream's stream, read to its end."""
    merger = PartMerger(plan.merge)

    def take(part: Any, exchange: Exchange) -> None:
        take_value(exchange, part)
        merger.add(part)

    exchange.take = _with_usage(route, take)
    assert batches.framing is not None
    translation = Translation(plan.read, exchange, batches.framing)
    yield from read_to_end(translation, batches, exchange, call.max_bytes)
    exchange.take = None
    whole = merger.merged()
    if call.response_schema is not None:
        check_body(call.response_schema, exchange, whole)
    return whole


def _complete_response(plan: PipelinePlan, case: CasePlan, exchange: Exchange, whole: Any) -> Response:
    status, headers = head_of(case, exchange, None, "upstream_error")
    body = evaluate(plan.translate, whole, exchange, "upstream_error")
    check_size(exchange, plan.translate, body, "upstream_error")
    response = make_response(status, headers, body, "upstream_error")
    take_output(exchange, plan.translate, len(response.content.data), "upstream_error")
    return response


# --- Streams ---------------------------------------------------------------------------------------------


def _stream(
    mapping: MappingPlan,
    route: RoutePlan,
    case: CasePlan,
    exchange: Exchange,
    response: UpstreamResponse,
    batches: Batches,
) -> Effects[Response]:
    plan = case.pipeline
    assert plan is not None
    assert plan.stream is not None
    assert plan.stream.translation is not None
    assert plan.stream.emit is not None
    exchange.take = _with_usage(route, plan.stream.emit.function)
    exchange.is_partial = batches.framing is not None
    translated = plan.stream.translation if exchange.is_partial else plan.whole
    translation = Translation(translated, exchange, batches.framing or "ndjson")
    stream = new_event_stream(mapping, plan.stream, translation, exchange)
    if plan.start is not None:
        exchange.out = stream.first = []
        evaluate(plan.start, None, exchange, "upstream_error")
        exchange.sent = len(stream.first)
    return (yield from begin_stream(case, stream, batches, response, exchange))


def _with_usage(route: RoutePlan, take: Take) -> Take:
    """`take`, and before it the counts of `usage` of each part."""
    if route.usage is None:
        return take
    usage, fields = route.usage.function, route.usage_fields

    def take_counts(part: Any, exchange: Exchange) -> None:
        # Most parts have no counts.
        if fields is None or type(part) is not dict or not fields.isdisjoint(part):
            with suppress(*FAILURES):
                note_usage(usage(part, exchange), exchange)
        take(part, exchange)

    return take_counts
