"""Python's garbage collector, told what is loaded for good.

Contract: to go through plans and modules again and again while requests are answered costs a tenth of the
time, and makes processes that share their memory copy it. Requests leave few circles behind.
"""

from __future__ import annotations

import gc
from typing import Final

#: How many objects more there must be until the collector looks, and how many looks until it looks at older
#: ones.
_THRESHOLDS: Final = (10_000, 20, 20)


def settle() -> None:
    """Let the collector look no more at what there is now; what it let be before is not touched."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def resettle() -> None:
    """Free what nobody needs any more of all that there was, and let the rest be."""
    gc.unfreeze()
    settle()
