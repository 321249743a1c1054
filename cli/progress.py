"""Shows the progress of long work on a terminal.

Contract: nothing is shown for short work, or if standard error is not a terminal.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from cli import render

if TYPE_CHECKING:
    from cli.terminal import ProgressBar

T = TypeVar("T")

#: Seconds of work without a progress bar.
DELAY = 1.0


def tracked(items: Sequence[T], label: str) -> Iterator[T]:
    """The items, with a progress bar while the caller works on them."""
    # A dumb terminal cannot remove the bar.
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield from items
        return
    bar: ProgressBar | None = None
    start = time.monotonic()
    try:
        for number, item in enumerate(items):
            if bar is None and time.monotonic() - start >= DELAY:
                bar = _start(label, len(items))
            if bar is not None:
                bar.update(number)
            yield item
    finally:
        if bar is not None:
            bar.stop()


def _start(label: str, total: int) -> ProgressBar:
    from cli.terminal import ProgressBar

    return ProgressBar(label, total, render.has_colors(sys.stderr))
