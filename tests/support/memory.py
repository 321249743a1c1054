"""Memory use of a server process, and garbage that its failures leave behind.

Contract: Linux only. A process of `UNCOLLECTED` never runs the garbage collector by itself, so an object
in a reference cycle stays until `garbage` collects it.
"""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.server import Server
from tests.support.upstream import eventually

MIB: Final = 1024 * 1024

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

_CODE = """
import gc, json, signal, sys
gc.disable()

def report(number, frame):
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found = {}
    for each in gc.garbage:
        name = f"{type(each).__module__}.{type(each).__qualname__}"
        if type(each).__name__ in ("frame", "coroutine", "generator"):
            name += " " + str(getattr(each, "__qualname__", None) or each.f_code.co_qualname)
        found[name] = found.get(name, 0) + 1
    each = None
    gc.garbage.clear()
    gc.collect()
    print(json.dumps({"event": "garbage", "found": found}), file=sys.stderr, flush=True)

signal.signal(signal.SIGUSR2, report)
from cli.main import main
main()
"""
#: The command of `dragoman serve` without the garbage collector, for `dragoman_server`.
UNCOLLECTED: Final = [sys.executable, "-c", _CODE]


def memory(server: Server, peak: bool = False) -> int:
    """Returns the current or the peak memory of the process in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text("ascii")
    found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", status)
    assert found
    return int(found.group(1)) * 1024


def garbage(server: Server) -> dict[str, int]:
    """Frees all objects that only the garbage collector can free; returns their number by type.

    The server must run as `UNCOLLECTED`.
    """

    def reports() -> list[dict[str, int]]:
        return [line["found"] for line in server.log() if line["event"] == "garbage"]

    before = len(reports())
    server.process.send_signal(signal.SIGUSR2)
    assert eventually(lambda: len(reports()) > before), server.text()
    return reports()[-1]
