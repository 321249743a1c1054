"""Worker threads for long work of an exchange, so that the event loop continues to serve other requests.

Contract: work is pure Python on values of one exchange, and its caller does not use them until the work has
finished. A cancelled caller also waits for the end of the work, whose time the limits of the exchange bound.
Short work runs in the event loop, because a thread would cost more. Must not know what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from engine.http.messages import Content, UpstreamResponse

T = TypeVar("T")

#: Larger bodies, in bytes, take so long to parse and translate that other requests should not wait.
LONG_BODY: Final = 256 * 1024
#: The same for a value from another mapping. Its size is unknown; the known bound is far above it.
_LONG_VALUE: Final = 64 * LONG_BODY
#: Larger pieces of a stream, in bytes, may contain many events; one with this many lines takes long.
LONG_BATCH: Final = 16 * 1024
_MANY_LINES: Final = 1024
#: The maximum number of events that are written at a time.
MAX_EVENTS: Final = 1024

_THREADS: Final = 2

_pool: ThreadPoolExecutor | None = None


def takes_long(given: Any) -> bool:
    """Whether an exchange takes long to process the result of an effect: a body, or a piece of a stream."""
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
    """Run work in a thread and return its result.

    Raises:
        Exception: the exception of the work.
        CancelledError: the caller was cancelled; the work has finished nevertheless.
    """
    global _pool
    if _pool is None:
        # Created on first use, after worker processes were forked.
        _pool = ThreadPoolExecutor(_THREADS, "exchange")
    future = asyncio.get_running_loop().run_in_executor(_pool, work, *arguments)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await _wait_until_done(future)
        raise


async def _wait_until_done(future: asyncio.Future[Any]) -> None:
    """Wait for the end of work whose result is discarded."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    future.exception()
