"""Records the state of a process at each fork: its threads, and whether an event loop runs.

Contract: `watch_forks` returns an environment for `dragoman_server` in which the real process writes a record
before each fork. A test creates files to pause new children and reloads.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]

#: Runs at the start of each Python process. A joined thread is still listed by the system for a moment on
#: Python < 3.13; a thread that is in use stays listed.
_HOOK = """
import asyncio, json, os, sys, threading, time

def record():
    python_threads = threading.active_count()
    until = time.monotonic() + 5
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < until:
        time.sleep(0.001)
    found = {
        "process": os.getpid(),
        "python_threads": python_threads,
        "system_threads": len(os.listdir("/proc/self/task")),
        "is_loop_running": asyncio._get_running_loop() is not None,
    }
    with open(os.environ["FORKS"], "a") as file:
        file.write(json.dumps(found) + "\\n")

def wait():
    while os.path.exists(os.environ["FORKS"] + ".held"):
        time.sleep(0.01)

def hold_load(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".yaml"):
        while threading.current_thread() is not threading.main_thread() and os.path.exists(
            os.environ["FORKS"] + ".loading"
        ):
            time.sleep(0.01)

sys.addaudithook(hold_load)
os.register_at_fork(before=record, after_in_child=wait)
"""


@dataclass(frozen=True, slots=True)
class Forks:
    """The forks of a process and of its children.

    Attributes:
        env: variables for the process.
        held: while this file exists, new children wait before they do anything.
        loading: while this file exists, threads wait before they open a mapping.
    """

    env: dict[str, str]
    held: Path
    loading: Path
    _records: Path

    def records(self) -> list[dict[str, Any]]:
        """Returns one record for each fork so far."""
        return [json.loads(line) for line in self._records.read_text().splitlines()]


def watch_forks(folder: Path) -> Forks:
    """Installs the hook in a new subfolder of `folder`."""
    hook_folder = folder / "forks"
    hook_folder.mkdir()
    (hook_folder / "sitecustomize.py").write_text(_HOOK)
    records = hook_folder / "records"
    records.touch()
    path = os.pathsep.join((str(hook_folder), str(_ROOT)))
    env = {"PYTHONPATH": path, "FORKS": str(records)}
    return Forks(env, hook_folder / "records.held", hook_folder / "records.loading", records)
