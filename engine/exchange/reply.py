"""The upstream's reply → the answer: the first case of the route that fits, and its templates.

Contract: a reply is parsed only where something reads it. A failed reply goes to the cases that are for
failures and is a failure where none fits; a reply that cannot be used is the upstream's fault.
A route without a call is answered in the same way, from the client's body.
"""

from __future__ import annotations

from typing import Any

from engine.codegen import Compiled
from engine.errors import ExchangeError
from engine.exchange.evaluation import evaluate
from engine.exchange.failures import failure_of, shown_body, unusable_reply
from engine.exchange.headers import header_fields
from engine.exchange.outbound import NO_BODY, outbound_of, status_of
from engine.exchange.stream import written_out
from engine.messages import Exchange, Outbound
from engine.plan import CallPlan, CasePlan, RoutePlan
from engine.schema import BodySchema
from engine.values import ABSENT, JsonError, truth


def build_reply(route: RoutePlan, call: CallPlan | None, exchange: Exchange) -> Outbound:
    """The answer of a route; where a call was made, from `exchange.reply`.

    Raises:
        ExchangeError: the upstream failed and no case is for that, or its answer cannot be translated.
    """
    reply = exchange.reply
    if reply is None or call is None:
        payload = None if route.calls else exchange.body
        return _answer(route, exchange, payload, "invalid_request", failed=False)
    failed = not 200 <= reply.status < 300
    if failed and not any(case.for_failures for case in route.cases):
        raise failure_of(exchange)
    if failed:
        exchange.reply_body = shown_body(reply)
    else:
        _read_reply(route, call, exchange)
    return _answer(route, exchange, exchange.reply_body, "upstream_error", failed)


# --- What the upstream said ------------------------------------------------------------------------------


def _read_reply(route: RoutePlan, call: CallPlan, exchange: Exchange) -> None:
    """Parse and check the body of a 2xx answer."""
    reply = exchange.reply
    assert reply is not None
    has_body = reply.status not in NO_BODY and call.method != "HEAD"
    if call.response_schema is None and not (route.reads_reply and has_body):
        return
    try:
        exchange.reply_body = reply.content.value
    except JsonError as error:
        raise unusable_reply(exchange, "the upstream's answer is no JSON", str(error)) from None
    if call.response_schema is not None:
        _check_schema(call.response_schema, exchange)


def _check_schema(schema: BodySchema, exchange: Exchange) -> None:
    message = "the upstream's answer has an unexpected shape"
    try:
        misfit = schema.check(exchange.reply_body)
    except RecursionError:
        raise unusable_reply(exchange, message, "it is nested too deeply") from None
    if misfit is not None:
        cause = f"{misfit['path'] or 'the body'}: {misfit['message']}"
        raise unusable_reply(exchange, message, cause)


# --- What the client is answered -------------------------------------------------------------------------


def _answer(route: RoutePlan, exchange: Exchange, payload: Any, kind: str, failed: bool) -> Outbound:
    for number, case in enumerate(route.cases):
        if failed and not case.for_failures:
            continue
        if case.when is None or truth(evaluate(case.when, payload, exchange, kind)):
            exchange.case = number
            return answer_of(case, exchange, payload, kind)
    if failed:
        raise failure_of(exchange)
    kind = "upstream_error" if exchange.reply else "internal"
    raise ExchangeError(kind, "no answer is given for this case")


def answer_of(case: CasePlan, exchange: Exchange, payload: Any, kind: str) -> Outbound:
    """The answer of one case; a stream without a call is written out from its `emit`."""
    status, headers = head_of(case, exchange, payload, kind)
    if case.stream is not None:
        events = ABSENT if case.stream.emit is None else evaluate(case.stream.emit, payload, exchange, kind)
        return written_out(case.stream, status, headers, events)
    body = ABSENT if case.body is None else evaluate(case.body, payload, exchange, kind)
    return outbound_of(status, headers, body, kind)


def head_of(case: CasePlan, exchange: Exchange, payload: Any, kind: str) -> tuple[int, dict[str, str]]:
    """Status and header fields of a case."""
    status = case.status
    if isinstance(status, Compiled):
        status = status_of(evaluate(status, payload, exchange, kind), kind)
    return status, header_fields(case.headers, payload, exchange, kind)


def streaming_case(route: RoutePlan, exchange: Exchange) -> CasePlan | None:
    """The case of a 2xx reply that is made from the upstream's events; None where the answer is no such.

    It is chosen before the body is there: loading has seen to it that no `when` up to it reads that.
    """
    reply = exchange.reply
    assert reply is not None
    if not route.streams or not 200 <= reply.status < 300:
        return None
    for number, case in enumerate(route.cases):
        if case.when is None or truth(evaluate(case.when, None, exchange, "upstream_error")):
            exchange.case = number
            return case if case.stream is not None or case.collect is not None else None
    return None
