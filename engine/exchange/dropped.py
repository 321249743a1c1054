"""The client's fields that a route does not carry over: found, refused where the route says so, and named.

Contract: fields are told by their paths, never by their values; names are a client's too, so what is shown of
them is cut short and fit for a header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from engine.errors import ExchangeError
from engine.messages import Exchange
from engine.plan import ReadTree, RoutePlan

_MAX_NAMED: Final = 20
_MAX_NAME: Final = 64
_NOT_TOKEN = re.compile(r"[^A-Za-z0-9_.\-\[\]]")


def check_dropped(route: RoutePlan, reads: ReadTree, exchange: Exchange) -> None:
    """Note which fields of the client's body are not carried over, as they are not among `reads`.

    Raises:
        ExchangeError: as `refuse_dropped`.
    """
    if reads is not True and exchange.body is not None:
        exchange.dropped += unread(exchange.body, reads)
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


def unread(value: Any, tree: ReadTree, path: str = "") -> Iterator[str]:
    """The paths in a body that a route does not read, such as `logit_bias` or `messages[].name`."""
    if tree is True:
        return
    branches = tree if isinstance(tree, dict) else {}
    if type(value) is dict:
        if "*" in branches:
            return  # its pairs are gone through, keys and all
        for key, item in value.items():
            below = f"{path}.{key}" if path else key
            if key in branches:
                yield from unread(item, branches[key], below)
            elif item is not None:
                yield below
    elif type(value) is list and "*" in branches:
        for item in value:
            yield from unread(item, branches["*"], f"{path}[]")


def listed(dropped: list[str]) -> str:
    """Dropped fields as the client is told of them in a header."""
    more = len(dropped) - _MAX_NAMED
    return ", ".join([*_named(dropped), *([f"and {more} more"] if more > 0 else [])])


def _named(dropped: list[str]) -> list[str]:
    return [_NOT_TOKEN.sub("?", name[:_MAX_NAME]) for name in dropped[:_MAX_NAMED]]
