"""Python's garbage collector, told what is loaded for good, and run after large bodies.

Contract: to go through plans and modules again and again while requests are answered costs a tenth of the
time, and makes processes that share their memory copy it. Requests leave no reference cycles behind, however
they end.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Final

from engine.process.allocator import bound_free_memory, return_free_memory

#: How many objects more there must be until the collector looks, and how many looks until it looks at older
#: ones.
_THRESHOLDS: Final = (10_000, 20, 20)

#: Bytes of a body that is large, and seconds from such a body until the collector runs.
_LARGE_BYTES: Final = 1024 * 1024
_TIDYING: Final = 1.0


def settle() -> None:
    """Let the collector look no more at what there is now; what it let be before is not touched."""
    bound_free_memory()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def resettle() -> None:
    """Free what nobody needs any more of all that there was, and let the rest be."""
    gc.unfreeze()
    settle()


class _Tidying:
    """When the next collection after a large body is due, as a time of the event loop."""

    due: float = 0.0


def note_body(size: int) -> None:
    """A body of so many bytes was read, or a part of one. A second after a large one, and at most once a
    second, run a full collection and return free memory.

    Python keeps some freed dicts and lists for the next ones. Those of a large body pin the memory around
    them, a MiB each. Only a full collection releases them.
    """
    if size >= _LARGE_BYTES:
        loop = asyncio.get_running_loop()
        now = loop.time()
        # Further away than that: a time of another event loop.
        if not now < _Tidying.due <= now + _TIDYING:
            _Tidying.due = now + _TIDYING
            loop.call_later(_TIDYING, _tidy)


def _tidy() -> None:
    gc.collect()
    return_free_memory()
