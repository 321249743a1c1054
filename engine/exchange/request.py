"""The client's request, before anything is made of it: whether it may call, and whether its body can be used.

Contract: the key is checked before the body is asked for; a body that passes is JSON that fits the route's
schema, and stands at `exchange.body`. All that fails here is the client's fault.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.errors import ExchangeError
from engine.exchange.effects import Admit
from engine.exchange.exchange import Exchange
from engine.http.messages import Inbound
from engine.http.routing import segments
from engine.language.schema import BodySchema
from engine.plan import MappingPlan, PlanLeaf, RatePlan, RoutePlan
from engine.values import JsonError


def authorize(mapping: MappingPlan, route: RoutePlan, inbound: Inbound) -> None:
    """Check the client's key, before its body is read; its name then stands in `inbound.key`. A call of
    another mapping needs none: its client has been let in there.

    Raises:
        ExchangeError: `unauthorized` (RFC 6750, section 3), `forbidden` for a key that is for other routes.
    """
    if not route.requires_key or inbound.is_inside:
        return
    inbound.key = mapping.keys.find(inbound.headers)
    if inbound.key is None:
        challenge = (("www-authenticate", "Bearer"),)
        message = "a valid key is needed: Authorization: Bearer KEY"
        raise ExchangeError("unauthorized", message, headers=challenge)
    if inbound.key in route.denied_keys:
        raise ExchangeError("forbidden", "this key is not for this route")


def check_readings(leaf: PlanLeaf, others: Iterable[PlanLeaf]) -> None:
    """Refuse a path that an upstream could read as that of another route, where this one is less guarded.

    Raises:
        ExchangeError: `invalid_request`.
    """
    for other in others:
        if _is_stricter(other, leaf) or (_calls(leaf.route) and _literals(other) > _literals(leaf)):
            raise ExchangeError("invalid_request", "the path can be read in two ways")


def _is_stricter(other: PlanLeaf, leaf: PlanLeaf) -> bool:
    """Whether a route lets in fewer clients, or others."""
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
    """How much of its path a route names."""
    return [kind for kind, _ in segments(leaf.route.pattern)].count("literal")


def admission(mapping: MappingPlan, route: RoutePlan, inbound: Inbound) -> Admit | None:
    """What lets a request in; None where there is no limit. The rate of a key counts once, where its client
    came in."""
    rates = list(route.rates)
    own = None if inbound.is_inside else mapping.key_rates.get(inbound.key or "")
    if own is not None:
        rates.insert(0, own)
    if not rates and route.concurrency is None:
        return None
    return Admit(route, tuple((rate, _subject(rate, inbound)) for rate in rates))


def _subject(rate: RatePlan, inbound: Inbound) -> str:
    """Whose requests a rate counts; keys and addresses cannot be taken for each other."""
    if rate.by == "all":
        return "all"
    if rate.by == "key" and inbound.key is not None:
        return f"key {inbound.key}"
    return f"address {inbound.address}"


def read_body(route: RoutePlan, exchange: Exchange) -> None:
    """Parse and check the client's body.

    Raises:
        ExchangeError: `invalid_request` for what is no JSON, `unprocessable` for what the schema refuses.
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


def _check_encoding(inbound: Inbound) -> None:
    encodings = [value.lower() for name, value in inbound.headers if name == "content-encoding"]
    media_type = inbound.header("content-type") or ""
    if any(encoding not in ("", "identity") for encoding in encodings):
        raise ExchangeError("invalid_request", "a compressed body is not accepted", status=415)
    if media_type.lower().startswith("multipart/"):
        raise ExchangeError("invalid_request", "a multipart body is not accepted; send JSON", status=415)


def _parse(exchange: Exchange) -> None:
    exchange.received += exchange.inbound.content.most
    try:
        exchange.body = exchange.inbound.content.value
    except JsonError as error:
        raise ExchangeError("invalid_request", f"the request's body {error.predicate}") from None


def _check_schema(schema: BodySchema, exchange: Exchange) -> None:
    misfit = schema.check(exchange.body)
    if misfit is not None:
        where = f"'{misfit['path']}'" if misfit["path"] else "the body"
        message = f"{where}: {misfit['message']}"
        raise ExchangeError("unprocessable", message, details=misfit)
