"""Happy Eyeballs (RFC 8305): connect to a host with several addresses, and use the first that responds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

#: Seconds before the next address is tried as well (RFC 8305, 5).
_START_SECONDS: Final = 0.25


async def connect_first(
    addresses: list[str], dial: Callable[[str], Awaitable[T]], discard: Callable[[T], None]
) -> T:
    """The first established connection. A network that drops one address family adds only a short delay.

    Args:
        addresses: at least one, in the order in which to try them.
        dial: connects to an address.
        discard: closes a connection that was established too late.

    Raises:
        Exception: the exception of `dial`, if no address is reachable.
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
    """Cancel the slower attempts, and close their connections."""
    for task in dialling:
        task.cancel()
    for ended in await asyncio.gather(*dialling, return_exceptions=True):
        if not isinstance(ended, BaseException):
            discard(ended)
