"""Configuration of Python's garbage collector: it skips long-lived objects, and runs after large bodies.

Scanning plans and modules repeatedly would take a tenth of the serving time, and would make forked processes
copy the memory that they share. Requests leave no reference cycles behind, whether they succeed or fail.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Final

from engine.process.allocator import bound_free_memory, return_free_memory

#: The number of new objects that triggers a collection of the youngest generation, and the number of
#: collections of each generation that triggers one of the next.
_THRESHOLDS: Final = (10_000, 20, 20)

#: The size in bytes from which a body is large, and seconds from a large body to the collection.
_LARGE_BYTES: Final = 1024 * 1024
_COLLECTION_DELAY: Final = 1.0


def freeze_objects() -> None:
    """Exclude all objects that exist now from collections, in addition to those excluded before."""
    bound_free_memory()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def refreeze_objects() -> None:
    """Collect all objects, including excluded ones, and exclude those that remain."""
    gc.unfreeze()
    freeze_objects()


class _Collection:
    """The time of the next collection after a large body, on the event loop's clock."""

    due: float = 0.0


def note_body(size: int) -> None:
    """Schedule a full collection, which also returns free memory, if a body or part of `size` bytes is large.

    The collection runs a second later, and at most once a second. Python reuses some freed dicts and lists.
    Those of a large body pin the memory around them, a MiB each, and only a full collection releases them.
    """
    if size >= _LARGE_BYTES:
        loop = asyncio.get_running_loop()
        now = loop.time()
        # A time further in the future belongs to another event loop.
        if not now < _Collection.due <= now + _COLLECTION_DELAY:
            _Collection.due = now + _COLLECTION_DELAY
            loop.call_later(_COLLECTION_DELAY, _collect)


def _collect() -> None:
    gc.collect()
    return_free_memory()
