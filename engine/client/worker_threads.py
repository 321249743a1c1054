"""Long work of an exchange in a thread, so that the event loop keeps serving other requests meanwhile.

Contract: work is pure Python on values of one exchange, and its caller touches none of them until it has
ended. That holds for a caller that is cancelled too: it waits for the end of the work, which the limits of
the exchange bound. What is short runs where it is, as a thread costs more than it.
Must not know what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from engine.http.messages import Content, UpstreamResponse

T = TypeVar("T")

#: Bodies of more bytes take so long to parse and translate that others should not wait for it.
LONG_BODY: Final = 256 * 1024
#: A value that another mapping hands over has no size yet, but one that it cannot exceed, by far.
_LONG_VALUE: Final = 64 * LONG_BODY
#: Pieces of a stream with more bytes can hold many events, which are lines, and so many take long.
LONG_BATCH: Final = 16 * 1024
_MANY_LINES: Final = 1024
#: Events that are written at a time.
MANY_EVENTS: Final = 1024

_THREADS: Final = 2

_pool: ThreadPoolExecutor | None = None


def is_long(given: Any) -> bool:
    """Whether it takes long to go on with what an exchange is given: a body, or a piece of a stream."""
    kind = type(given)
    if kind is UpstreamResponse:
        given = given.content
    elif kind is bytes:
        return len(given) > LONG_BATCH and given.count(b"\n") > _MANY_LINES
    elif kind is not Content:
        return False
    content: Content = given
    return content.max_size > (LONG_BODY if content.has_data else _LONG_VALUE)


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """The result of work that is done in a thread.

    Raises:
        Exception: what the work raised.
        CancelledError: the caller was cancelled; the work has ended all the same.
    """
    global _pool
    if _pool is None:
        # One for the process, made when it is first wanted: after workers have been forked.
        _pool = ThreadPoolExecutor(_THREADS, "exchange")
    future = asyncio.get_running_loop().run_in_executor(_pool, work, *arguments)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await _ended(future)
        raise


async def _ended(future: asyncio.Future[Any]) -> None:
    """Wait for the end of work whose result nobody wants any more."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    future.exception()
