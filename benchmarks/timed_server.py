"""Dragoman's command line on asyncio's own event loop, with the CPU time of each callback measured.

Contract: run as a file, so that it serves the checkout that `PYTHONPATH` names. On SIGUSR2 it writes the
callback with the most CPU time since the last such signal to the file that `DRAGOMAN_BENCH_CALLBACKS` names,
as JSON `{"ms", "callback"}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

# Callbacks of uvloop do not pass through asyncio.Handle. Without uvloop, uvicorn uses asyncio's loop.
sys.modules["uvloop"] = None  # type: ignore[assignment]

_run = asyncio.Handle._run
_longest: tuple[float, str] = (0.0, "")


def _timed(handle: Any) -> None:
    global _longest
    # A finished handle has no callback any more.
    callback = handle._callback
    before = time.thread_time()
    _run(handle)
    taken = time.thread_time() - before
    if taken > _longest[0]:
        _longest = (taken, _described(callback))


def _described(callback: Any) -> str:
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return f"task {getattr(task.get_coro(), '__qualname__', '?')}"
    return getattr(callback, "__qualname__", repr(callback))


def _report(number: int, frame: Any) -> None:
    global _longest
    del number, frame
    taken, callback = _longest
    _longest = (0.0, "")
    file = Path(os.environ["DRAGOMAN_BENCH_CALLBACKS"])
    part = file.with_suffix(".part")
    part.write_text(json.dumps({"ms": taken * 1e3, "callback": callback}))
    part.replace(file)


if __name__ == "__main__":
    asyncio.Handle._run = _timed  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR2, _report)
    from cli.main import main

    main()
