"""The C allocator, made to return the memory of large bodies to the system.

Contract: only glibc needs this, and has what it takes: elsewhere nothing is done.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, Final

#: Of glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

#: Blocks of this size and above are mapped, and unmapped when they are freed.
_MAPPED_BYTES: Final = 1024 * 1024
#: How much free memory may stay at the end of the heap.
_KEPT_BYTES: Final = 2 * 1024 * 1024

_OWN_SETTINGS: Final = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def bound_free_memory() -> None:
    """Fix glibc's thresholds, unless the environment has settings of its own.

    Without this the first large block that is freed raises them, up to 32 and 64 MiB: bodies are then taken
    from the heap, and stay with the process after they are freed.
    """
    mallopt = getattr(_library(), "mallopt", None)
    if mallopt is not None and not any(name in os.environ for name in _OWN_SETTINGS):
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def return_free_memory() -> None:
    """Return free pages between used blocks to the system: a body that came in many pieces leaves them."""
    malloc_trim = getattr(_library(), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


@cache
def _library() -> Any:
    """The C library, or None."""
    if os.name != "posix":
        return None
    # This takes some milliseconds, which a start does not wait for.
    import ctypes

    return ctypes.CDLL(None)
