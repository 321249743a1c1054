"""Connecting to a host of several addresses: the first that responds is taken (RFC 8305)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

#: How long one address may be silent before the next one is tried as well (RFC 8305, 5).
_START_SECONDS: Final = 0.25


async def first_connected(
    addresses: list[str], dial: Callable[[str], Awaitable[T]], discard: Callable[[T], None]
) -> T:
    """The first connection that comes up: a network that drops one family of addresses costs little.

    Args:
        addresses: at least one, in the order in which they are tried.
        dial: connects to an address.
        discard: closes a connection that came up too late.

    Raises:
        Exception: what `dial` raised, where no address can be reached.
    """
    if len(addresses) == 1:
        return await dial(addresses[0])
    left = addresses.copy()
    running: set[asyncio.Future[T]] = set()
    failure: BaseException = OSError()
    try:
        while left or running:
            if left:
                running.add(asyncio.ensure_future(dial(left.pop(0))))
            patience = _START_SECONDS if left else None
            done, running = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            errors = {task: task.exception() for task in done}
            up = [task.result() for task, error in errors.items() if error is None]
            if up:
                for late in up[1:]:
                    discard(late)
                return up[0]
            failure = next(filter(None, errors.values()), failure)
    finally:
        await _stop(running, discard)
    raise failure


async def _stop(dialling: set[asyncio.Future[T]], discard: Callable[[T], None]) -> None:
    """End those that were slower."""
    for task in dialling:
        task.cancel()
    for ended in await asyncio.gather(*dialling, return_exceptions=True):
        if not isinstance(ended, BaseException):
            discard(ended)
