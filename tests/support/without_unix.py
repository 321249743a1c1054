"""A pytest plugin that hides what only Unix has, so that imports behave as on Windows.

    python -m pytest -p tests.support.without_unix …

Contract: hides modules, functions of `os` and `signal` and socket options that Windows lacks, from all code
that is imported later. The standard library is imported first: it uses what the system has.
"""

from __future__ import annotations

import asyncio  # noqa: F401 - imported in front of the changes
import multiprocessing  # noqa: F401
import os
import signal
import socket
import subprocess  # noqa: F401
import sys
import tempfile  # noqa: F401

#: Modules that cannot be imported on Windows.
MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty", "uvloop")
OS = (
    "fork",
    "getgid",
    "getuid",
    "geteuid",
    "killpg",
    "register_at_fork",
    "setsid",
    "wait3",
)
SIGNALS = ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGUSR1", "SIGUSR2")
SIGNAL = ("alarm", "pthread_kill", "pthread_sigmask", "setitimer", "sigwait", *SIGNALS)
SOCKET = ("SO_REUSEPORT", "TCP_INFO")


def hide() -> None:
    """Hides them, for the rest of the process."""
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in ((os, OS), (signal, SIGNAL), (socket, SOCKET)):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)


if os.name == "posix":
    hide()
