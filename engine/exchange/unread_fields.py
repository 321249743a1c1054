"""Fields of the client's body that a route does not carry over: found, reported, or rejected.

Contract: fields are reported by their paths, never by their values. Names come from the client too, so they
are truncated and made safe for a header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange.exchange import Exchange, values_at
from engine.http.methods import PATCH
from engine.language.uses import ITEM, VariablePath, path_text
from engine.plan import OTHERS, ReadTree, RoutePlan

_MAX_NAMED: Final = 20
_MAX_NAME: Final = 64
_UNREAD: Final = object()
_STEP = re.compile(r"\.|\[\]")
_NOT_TOKEN = re.compile(r"[^A-Za-z0-9_.\-\[\]]")


def check_dropped(route: RoutePlan, reads: ReadTree, exchange: Exchange) -> None:
    """Record the fields of the client's body that are not carried over, as they are not in `reads`, or as the
    route declares.

    Raises:
        ExchangeError: as `refuse_dropped`.
    """
    if reads is not True and exchange.body is not None:
        exchange.dropped += unread(exchange.body, reads, route.method == PATCH)
    for path in route.drops:
        if _is_received(exchange.body, path, route.method == PATCH):
            exchange.drop(path_text(path))
    if exchange.dropped:
        refuse_dropped(route, exchange)


def refuse_dropped(route: RoutePlan, exchange: Exchange) -> None:
    """Check the fields dropped so far, including those of `drop()` in request templates.

    Raises:
        ExchangeError: `invalid_request`, if there are any and the route rejects dropped fields.
    """
    dropped = exchange.dropped = _outermost(set(exchange.dropped))
    if dropped and route.rejects_dropped:
        message = f"these fields are not supported here: {', '.join(header_names(dropped[:_MAX_NAMED]))}"
        raise ExchangeError("invalid_request", message, details={"unsupported": dropped[:_MAX_NAMED]})


def _outermost(paths: set[str]) -> list[str]:
    """The sorted paths without those of fields inside a field that is in `paths` too."""
    if len(paths) > 1:
        paths = {path for path in paths if paths.isdisjoint(_above(path))}
    return sorted(paths)


def _above(path: str) -> Iterator[str]:
    """The paths of the fields that contain a field, if they are written like it."""
    return (path[: step.start()] for step in _STEP.finditer(path, 1))


def _is_received(body: Any, path: VariablePath, nulls: bool) -> bool:
    """Whether a body has a field, within lists in any item; a null counts only if `nulls`."""
    values = [body]
    for step in path:
        values = [inner for value in values for inner in values_at(value, step)]
    return any(nulls or value is not None for value in values)


def unread(value: Any, tree: ReadTree, nulls: bool = False) -> list[str]:
    """The paths in a body that a route does not read, such as `logit_bias` or `messages[].name`.

    Paths of nulls are included only if `nulls`.
    """
    found: list[str] = []
    if tree is not True:
        _collect_unread(value, tree or {}, "", found, nulls)
    return found


def _collect_unread(value: Any, tree: dict[str | int, Any], path: str, found: list[str], nulls: bool) -> None:
    """Collect the unread paths below `path`, where `tree` contains the paths that are read."""
    if type(value) is dict:
        if ITEM in tree:
            return  # all pairs are iterated over, keys included
        for key, item in value.items():
            below = tree.get(key, _UNREAD)
            if below is _UNREAD:
                if (item is not None or nulls) and key in tree.get(OTHERS, value):
                    found.append(f"{path}.{key}" if path else key)
            elif below is not True and (type(item) is dict or type(item) is list):
                _collect_unread(item, below or {}, f"{path}.{key}" if path else key, found, nulls)
    elif type(value) is list:
        _collect_unread_items(value, tree, f"{path}[]", found, nulls)


def _collect_unread_items(
    items: list[Any], tree: dict[str | int, Any], path: str, found: list[str], nulls: bool
) -> None:
    """Collect the unread paths of the items of a list. Iterating over a list reads its scalars; a test of the
    list reads nothing inside."""
    is_only_tested = not tree
    below = {} if is_only_tested else tree.get(ITEM, True)
    if below is True:
        return
    for item in items:
        if type(item) is dict or type(item) is list:
            _collect_unread(item, below or {}, path, found, nulls)
        elif is_only_tested and item is not None and path not in found[-1:]:
            found.append(path)


def header_names(dropped: Iterable[str]) -> Iterator[str]:
    """The paths of fields as they are named in a header, truncated and without special characters."""
    return (_NOT_TOKEN.sub("?", name[:_MAX_NAME]) for name in dropped)
