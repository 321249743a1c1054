"""Checks of the client's request: its key, its rate limits, its body, and the `checks` of the mapping.

Contract: the key is checked before the body is read. A valid body is JSON that matches the route's schema,
and is in `exchange.body`. All errors raised here are the client's fault, unless a mapping gives its check
another kind.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.errors import ExchangeError
from engine.exchange.effects import Admit
from engine.exchange.evaluation import evaluate
from engine.exchange.exchange import Exchange
from engine.http.messages import Inbound
from engine.http.routing import segments
from engine.language.schema import BodySchema
from engine.plan import MappingPlan, PlanLeaf, RatePlan, RoutePlan
from engine.values import JsonError


def authorize(mapping: MappingPlan, route: RoutePlan, inbound: Inbound) -> None:
    """Check the client's key, before its body is read, and set `inbound.key` to its name. A call from another
    mapping needs no key: its client was authorized there.

    Raises:
        ExchangeError: `unauthorized` (RFC 6750, section 3), or `forbidden` if the key is for other routes
            only.
    """
    if not route.requires_key or inbound.is_internal:
        return
    inbound.key = mapping.keys.find(inbound.headers)
    if inbound.key is None:
        challenge = (("www-authenticate", "Bearer"),)
        message = "a valid key is required: Authorization: Bearer KEY"
        raise ExchangeError("unauthorized", message, headers=challenge)
    if inbound.key in route.denied_keys:
        raise ExchangeError("forbidden", "this key is not allowed on this route")


def check_readings(leaf: PlanLeaf, others: Iterable[PlanLeaf]) -> None:
    """Reject a path that an upstream could interpret as the path of another route, if that route is stricter
    or more specific.

    Raises:
        ExchangeError: `invalid_request`.
    """
    for other in others:
        if _is_stricter(other, leaf) or (_calls(leaf.route) and _literals(other) > _literals(leaf)):
            raise ExchangeError("invalid_request", "the path is ambiguous")


def _is_stricter(other: PlanLeaf, leaf: PlanLeaf) -> bool:
    """Whether a route accepts fewer clients, or different ones."""
    if not other.route.requires_key:
        return False
    return (
        not leaf.route.requires_key
        or other.owner is not leaf.owner
        or other.route.denied_keys != leaf.route.denied_keys
    )


def _calls(route: RoutePlan) -> bool:
    return any(attempt.forward or attempt.calls or attempt.before for attempt in route.attempts)


def _literals(leaf: PlanLeaf) -> int:
    """The number of literal segments in the path of a route."""
    return [kind for kind, _ in segments(leaf.route.pattern)].count("literal")


def admission(mapping: MappingPlan, route: RoutePlan, inbound: Inbound) -> Admit | None:
    """The effect that applies the limits of a request; None if there are no limits. The rate limit of a key
    counts once per client request, not for calls from other mappings."""
    rates = list(route.rates)
    own = None if inbound.is_internal else mapping.key_rates.get(inbound.key or "")
    if own is not None:
        rates.insert(0, own)
    if not rates and route.concurrency is None:
        return None
    return Admit(route, tuple((rate, _subject(rate, inbound)) for rate in rates))


def _subject(rate: RatePlan, inbound: Inbound) -> str:
    """The subject whose requests a rate limit counts; keys and addresses never collide."""
    if rate.by == "all":
        return "all"
    if rate.by == "key" and inbound.key is not None:
        return f"key {inbound.key}"
    return f"address {inbound.address}"


def read_body(route: RoutePlan, exchange: Exchange) -> None:
    """Parse and check the client's body.

    Raises:
        ExchangeError: `invalid_request` for invalid JSON, `unprocessable` if the schema does not match.
    """
    if not route.reads_body:
        return
    _check_encoding(exchange.inbound)
    if not exchange.inbound.content.is_empty:
        _parse(exchange)
    elif route.schema is not None:
        raise ExchangeError("invalid_request", "the request has no body; JSON is expected")
    if route.schema is not None:
        _check_schema(route.schema, exchange)


def run_checks(route: RoutePlan, exchange: Exchange) -> None:
    """Check the request by the conditions of the mapping.

    Raises:
        ExchangeError: the error of the first condition that is true.
    """
    if route.checks is not None:
        evaluate(route.checks, exchange.body, exchange, "invalid_request")


def _check_encoding(inbound: Inbound) -> None:
    for name, value in inbound.headers:
        if name == "content-encoding" and value.lower() not in ("", "identity"):
            raise ExchangeError("invalid_request", "a compressed body is not accepted", status=415)
    if inbound.content.media_type.lower().startswith("multipart/"):
        raise ExchangeError("invalid_request", "a multipart body is not accepted; send JSON", status=415)


def _parse(exchange: Exchange) -> None:
    exchange.received += exchange.inbound.content.max_size
    try:
        exchange.body = exchange.inbound.content.value
    except JsonError as error:
        raise ExchangeError("invalid_request", f"the request's body {error.predicate}") from None


def _check_schema(schema: BodySchema, exchange: Exchange) -> None:
    violation = schema.check(exchange.body)
    if violation is not None:
        where = f"'{violation['path']}'" if violation["path"] else "the body"
        message = f"{where}: {violation['message']}"
        raise ExchangeError("unprocessable", message, details=violation)
