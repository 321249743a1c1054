"""The upstream's response → the response to the client, by the templates of the first matching case.

Contract: the body of an upstream's response is parsed only if something reads it. A failed response is
matched against the cases for failures, and is an error if none matches; a response that cannot be used is the
upstream's fault. A route without a call builds its response from the client's body in the same way.
"""

from __future__ import annotations

from typing import Any

from engine.errors import ExchangeError
from engine.exchange.errors import unusable_response, upstream_status_error, visible_body
from engine.exchange.evaluation import evaluate
from engine.exchange.event_stream import Response, fixed_stream_response
from engine.exchange.exchange import Exchange
from engine.exchange.headers import header_fields
from engine.exchange.output_limits import check_size, take_output
from engine.exchange.response_content import NO_BODY, make_response, status_of
from engine.http.media_types import decoded_text, is_text
from engine.http.messages import Content, UpstreamResponse
from engine.language.codegen import Compiled
from engine.language.schema import BodySchema
from engine.plan import AttemptPlan, CallPlan, CasePlan
from engine.values import ABSENT, JsonError, truth


def build_response(attempt: AttemptPlan, call: CallPlan | None, exchange: Exchange) -> Response:
    """The response of an attempt; if it made a call, from `exchange.upstream_response`.

    Raises:
        ExchangeError: the upstream failed and no case handles that, or its response cannot be translated.
    """
    response = exchange.upstream_response
    if response is None or call is None:
        payload = None if attempt.calls else exchange.body
        return response_from(attempt, exchange, payload, "invalid_request")
    failed = is_failure(response)
    if failed and not any(case.handles_errors for case in attempt.cases):
        raise upstream_status_error(exchange)
    if failed:
        exchange.received += response.content.max_size
        exchange.upstream_body = visible_body(response)
    else:
        exchange.upstream_body = read_upstream_body(call, exchange, response, attempt.reads_upstream_body)
    return response_from(attempt, exchange, exchange.upstream_body, "upstream_error", failed)


# --- The upstream's response -----------------------------------------------------------------------------


def is_failure(response: UpstreamResponse) -> bool:
    """Whether the status of a response is outside 2xx."""
    return not 200 <= response.status < 300


def read_upstream_body(call: CallPlan, exchange: Exchange, response: UpstreamResponse, is_read: bool) -> Any:
    """The body of a 2xx response, parsed if `is_read`, and checked if the call has a schema; else None.

    Raises:
        ExchangeError: `upstream_error`, if it is neither JSON nor text, or does not match the schema.
    """
    has_body = response.status not in NO_BODY and call.method != "HEAD"
    if call.response_schema is None and not (is_read and has_body):
        return None
    exchange.received += response.content.max_size
    body = _parsed(exchange, response.content)
    if call.response_schema is not None:
        check_body(call.response_schema, exchange, body)
    return body


def _parsed(exchange: Exchange, content: Content) -> Any:
    """A body as a JSON value. With a text Content-Type, only an object or an array is parsed as JSON, since
    some servers send them that way; other bodies are strings."""
    media_type = content.media_type
    try:
        value = content.value
        if type(value) in (dict, list) or not is_text(media_type):
            return value
    except JsonError as error:
        if not is_text(media_type):
            message = f"the upstream's response {error.problem}"
            raise unusable_response(exchange, message, str(error)) from None
    return decoded_text(content.data, media_type)


def check_body(schema: BodySchema, exchange: Exchange, body: Any) -> None:
    """Check an upstream's body against the schema of its call.

    Raises:
        ExchangeError: `upstream_error`, if it does not match.
    """
    violation = schema.check(body)
    if violation is not None:
        cause = f"{violation['path'] or 'the body'}: {violation['message']}"
        raise unusable_response(exchange, "the upstream's response does not match the schema", cause)


# --- The response to the client --------------------------------------------------------------------------


def response_from(
    attempt: AttemptPlan, exchange: Exchange, payload: Any, kind: str, failed: bool = False
) -> Response:
    """The response of the first case that matches a payload, unless `streaming_case` has already selected it.

    Raises:
        ExchangeError: of `kind`, if it cannot be written; no case matches.
    """
    if exchange.case is not None:
        return case_response(attempt.cases[exchange.case - attempt.first_case], exchange, payload, kind)
    for number, case in enumerate(attempt.cases, attempt.first_case):
        if failed and not case.handles_errors:
            continue
        if case.when is None or truth(evaluate(case.when, payload, exchange, kind)):
            exchange.case = number
            return case_response(case, exchange, payload, kind)
    raise _no_matching_case(exchange, failed)


def _no_matching_case(exchange: Exchange, failed: bool) -> ExchangeError:
    if failed:
        return upstream_status_error(exchange)
    kind = "upstream_error" if exchange.upstream_response else "internal"
    return ExchangeError(kind, "no response case matches")


def case_response(case: CasePlan, exchange: Exchange, payload: Any, kind: str) -> Response:
    """The response of one case; the events of a stream are the value of its `emit`."""
    status, headers = head_of(case, exchange, payload, kind)
    if case.stream is not None:
        events = ABSENT if case.stream.emit is None else evaluate(case.stream.emit, payload, exchange, kind)
        return fixed_stream_response(case.stream, status, headers, events)
    if case.body is None:
        return make_response(status, headers, ABSENT, kind)
    body = evaluate(case.body, payload, exchange, kind)
    check_size(exchange, case.body, body, kind)
    response = make_response(status, headers, body, kind)
    take_output(exchange, case.body, len(response.content.data), kind)
    return response


def head_of(case: CasePlan, exchange: Exchange, payload: Any, kind: str) -> tuple[int, dict[str, str]]:
    """The status and header fields of a case."""
    status = case.status
    if isinstance(status, Compiled):
        status = status_of(evaluate(status, payload, exchange, kind), kind)
    return status, header_fields(case.headers, payload, exchange, kind)


def streaming_case(attempt: AttemptPlan, exchange: Exchange) -> CasePlan | None:
    """The case for a 2xx response, if it has a pipeline; else None.

    It is selected before the body is read: the compiler ensures that no `when` up to the last such case reads
    the body. Another case that is selected here is in `exchange.case`, for `response_from`.
    """
    response = exchange.upstream_response
    assert response is not None
    if not attempt.streaming_cases or is_failure(response):
        return None
    for number, case in enumerate(attempt.streaming_cases, attempt.first_case):
        if case.when is None or truth(evaluate(case.when, None, exchange, "upstream_error")):
            exchange.case = number
            return None if case.pipeline is None else case
    return None
