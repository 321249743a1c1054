"""Settings of the C allocator that return the memory of large bodies to the system.

Contract: affects glibc only; does nothing with other C libraries.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, Final

#: Parameters of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

#: Blocks of at least this size are mapped, and unmapped when they are freed.
_MAPPED_BYTES: Final = 1024 * 1024
#: How much free memory may remain at the end of the heap.
_RETAINED_BYTES: Final = 2 * 1024 * 1024

_OWN_SETTINGS: Final = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def bound_free_memory() -> None:
    """Set glibc's thresholds to fixed values, unless the environment sets them.

    By default glibc raises both thresholds when a large block is freed, up to 32 and 64 MiB. Bodies are then
    allocated from the heap, and the process retains their memory after they are freed.
    """
    mallopt = getattr(_library(), "mallopt", None)
    if mallopt is not None and not any(name in os.environ for name in _OWN_SETTINGS):
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _RETAINED_BYTES)


def return_free_memory() -> None:
    """Return free pages between used blocks to the system; bodies in many pieces leave such pages."""
    malloc_trim = getattr(_library(), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


@cache
def _library() -> Any:
    """The C library, or None."""
    if os.name != "posix":
        return None
    # The import takes several milliseconds, so it must not delay startup.
    import ctypes

    return ctypes.CDLL(None)
