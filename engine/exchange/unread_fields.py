"""The client's fields that a route does not carry over: found, refused where the route says so, and named.

Contract: fields are told by their paths, never by their values; names are a client's too, so what is shown of
them is cut short and fit for a header.
"""

from __future__ import annotations

import re
from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange.exchange import Exchange
from engine.http.methods import NULLS_MATTER
from engine.language.uses import ITEM
from engine.plan import OTHERS, ReadTree, RoutePlan

_MAX_NAMED: Final = 20
_MAX_NAME: Final = 64
_UNREAD: Final = object()
_NOT_TOKEN = re.compile(r"[^A-Za-z0-9_.\-\[\]]")


def check_dropped(route: RoutePlan, reads: ReadTree, exchange: Exchange) -> None:
    """Note which fields of the client's body are not carried over, as they are not among `reads`.

    Raises:
        ExchangeError: as `refuse_dropped`.
    """
    if reads is not True and exchange.body is not None:
        exchange.dropped += unread(exchange.body, reads, route.method == NULLS_MATTER)
    if exchange.dropped:
        refuse_dropped(route, exchange)


def refuse_dropped(route: RoutePlan, exchange: Exchange) -> None:
    """Look at what has been dropped so far, by `drop()` too where requests were built.

    Raises:
        ExchangeError: `invalid_request`, where there is anything and the route rejects it.
    """
    dropped = exchange.dropped = sorted(set(exchange.dropped))
    if dropped and route.rejects_dropped:
        message = f"these fields are not supported here: {', '.join(_named(dropped))}"
        raise ExchangeError("invalid_request", message, details={"unsupported": dropped[:_MAX_NAMED]})


def unread(value: Any, tree: ReadTree, nulls: bool = False) -> list[str]:
    """The paths in a body that a route does not read, such as `logit_bias` or `messages[].name`.

    Those of nulls only where `nulls`.
    """
    found: list[str] = []
    if tree is not True:
        _find_unread(value, tree or {}, "", found, nulls)
    return found


def _find_unread(value: Any, tree: dict[str | int, Any], path: str, found: list[str], nulls: bool) -> None:
    """Look below `path`, whose branches `tree` has."""
    if type(value) is dict:
        if ITEM in tree:
            return  # its pairs are gone through, keys and all
        for key, item in value.items():
            below = tree.get(key, _UNREAD)
            if below is _UNREAD:
                if (item is not None or nulls) and key in tree.get(OTHERS, value):
                    found.append(f"{path}.{key}" if path else key)
            elif below is not True and (type(item) is dict or type(item) is list):
                _find_unread(item, below or {}, f"{path}.{key}" if path else key, found, nulls)
    elif type(value) is list and (below := tree.get(ITEM, True)) is not True:
        for item in value:
            _find_unread(item, below or {}, f"{path}[]", found, nulls)


def listed(dropped: list[str]) -> str:
    """Dropped fields as the client is told of them in a header."""
    more = len(dropped) - _MAX_NAMED
    return ", ".join([*_named(dropped), *([f"and {more} more"] if more > 0 else [])])


def _named(dropped: list[str]) -> list[str]:
    return [_NOT_TOKEN.sub("?", name[:_MAX_NAME]) for name in dropped[:_MAX_NAMED]]
