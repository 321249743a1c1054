"""The upstream's reply → the answer: the first case of the route that fits, and its templates.

Contract: a reply is parsed only where something reads it. A failed reply goes to the cases that are for
failures and is a failure where none fits; a reply that cannot be used is the upstream's fault.
A route without a call is answered in the same way, from the client's body.
"""

from __future__ import annotations

from typing import Any

from engine.errors import ExchangeError
from engine.exchange.errors import failure_of, shown_body, unusable_response
from engine.exchange.evaluation import evaluate
from engine.exchange.event_stream import written_out
from engine.exchange.exchange import Exchange
from engine.exchange.headers import header_fields
from engine.exchange.output_limits import check_size, take_output
from engine.exchange.response_content import NO_BODY, outbound_of, status_of
from engine.http.media_types import decoded_text, is_text
from engine.http.messages import Content, Response, UpstreamResponse
from engine.language.codegen import Compiled
from engine.language.schema import BodySchema
from engine.plan import AttemptPlan, CallPlan, CasePlan
from engine.values import ABSENT, JsonError, truth


def build_response(attempt: AttemptPlan, call: CallPlan | None, exchange: Exchange) -> Response:
    """The answer of an attempt; where a call was made for it, from `exchange.reply`.

    Raises:
        ExchangeError: the upstream failed and no case is for that, or its answer cannot be translated.
    """
    response = exchange.upstream_response
    if response is None or call is None:
        payload = None if attempt.calls else exchange.body
        return response_from(attempt, exchange, payload, "invalid_request")
    failed = is_failure(response)
    if failed and not any(case.handles_errors for case in attempt.cases):
        raise failure_of(exchange)
    if failed:
        exchange.received += response.content.most
        exchange.upstream_body = shown_body(response)
    else:
        exchange.upstream_body = read_upstream_body(call, exchange, response, attempt.reads_upstream_body)
    return response_from(attempt, exchange, exchange.upstream_body, "upstream_error", failed)


# --- What the upstream said ------------------------------------------------------------------------------


def is_failure(response: UpstreamResponse) -> bool:
    """Whether the upstream says that it could not do what it was asked for."""
    return not 200 <= response.status < 300


def read_upstream_body(call: CallPlan, exchange: Exchange, response: UpstreamResponse, is_read: bool) -> Any:
    """The body of a 2xx answer, parsed and checked where that is wanted; else None.

    Raises:
        ExchangeError: `upstream_error`, where it is neither JSON nor text, or does not match the schema.
    """
    has_body = response.status not in NO_BODY and call.method != "HEAD"
    if call.response_schema is None and not (is_read and has_body):
        return None
    exchange.received += response.content.most
    body = _parsed(exchange, response.content)
    if call.response_schema is not None:
        _check_schema(call.response_schema, exchange, body)
    return body


def _parsed(exchange: Exchange, content: Content) -> Any:
    """A body as a JSON value. Under a Content-Type of text it is JSON only as an object or a list, which some
    servers send so; else the text itself."""
    media_type = content.media_type
    try:
        value = content.value
        if type(value) in (dict, list) or not is_text(media_type):
            return value
    except JsonError as error:
        if not is_text(media_type):
            message = f"the upstream's answer {error.problem}"
            raise unusable_response(exchange, message, str(error)) from None
    return decoded_text(content.data, media_type)


def _check_schema(schema: BodySchema, exchange: Exchange, body: Any) -> None:
    misfit = schema.check(body)
    if misfit is not None:
        cause = f"{misfit['path'] or 'the body'}: {misfit['message']}"
        raise unusable_response(exchange, "the upstream's answer has an unexpected shape", cause)


# --- What the client is answered -------------------------------------------------------------------------


def response_from(
    attempt: AttemptPlan, exchange: Exchange, payload: Any, kind: str, failed: bool = False
) -> Response:
    """The answer of the first case that holds for a payload.

    Raises:
        ExchangeError: of `kind` where it cannot be written; where there is no case for it.
    """
    for number, case in enumerate(attempt.cases, attempt.first_case):
        if failed and not case.handles_errors:
            continue
        if case.when is None or truth(evaluate(case.when, payload, exchange, kind)):
            exchange.case = number
            return case_response(case, exchange, payload, kind)
    if failed:
        raise failure_of(exchange)
    kind = "upstream_error" if exchange.upstream_response else "internal"
    raise ExchangeError(kind, "no answer is given for this case")


def case_response(case: CasePlan, exchange: Exchange, payload: Any, kind: str) -> Response:
    """The answer of one case; a stream without a call is written out from its `emit`."""
    status, headers = head_of(case, exchange, payload, kind)
    if case.stream is not None:
        events = ABSENT if case.stream.emit is None else evaluate(case.stream.emit, payload, exchange, kind)
        return written_out(case.stream, status, headers, events)
    if case.body is None:
        return outbound_of(status, headers, ABSENT, kind)
    body = evaluate(case.body, payload, exchange, kind)
    check_size(exchange, case.body, body, kind)
    response = outbound_of(status, headers, body, kind)
    take_output(exchange, case.body, len(response.content.data), kind)
    return response


def head_of(case: CasePlan, exchange: Exchange, payload: Any, kind: str) -> tuple[int, dict[str, str]]:
    """Status and header fields of a case."""
    status = case.status
    if isinstance(status, Compiled):
        status = status_of(evaluate(status, payload, exchange, kind), kind)
    return status, header_fields(case.headers, payload, exchange, kind)


def streaming_case(attempt: AttemptPlan, exchange: Exchange) -> CasePlan | None:
    """The case of a 2xx reply that is made from the upstream's events; None where the answer is no such.

    It is chosen before the body is there: loading has seen to it that no `when` up to it reads that.
    """
    response = exchange.upstream_response
    assert response is not None
    if not attempt.streams or is_failure(response):
        return None
    for number, case in enumerate(attempt.cases, attempt.first_case):
        if case.when is None or truth(evaluate(case.when, None, exchange, "upstream_error")):
            exchange.case = number
            return case if case.stream is not None or case.collect is not None else None
    return None
