"""Server processes: each runs on one core, and is paused while another is measured.

Contract: Linux (CPU affinity, `/proc`). A server's output is written to a file; if it does not start,
`ServerFailed` contains the end of that file.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

POLL_SECONDS = 0.02
ROOT = Path(__file__).parent.parent

_OPEN_FILES = 16_384
#: Variables that a server does not inherit: options of Dragoman, and one that disables the bytecode cache.
_NOT_INHERITED = re.compile("DRAGOMAN_|PYTHONDONTWRITEBYTECODE$")


class ServerFailed(Exception):
    """A server did not start, or ended."""


@dataclass(frozen=True, slots=True)
class Command:
    """The command that starts a server; `env` overrides inherited variables."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


def cores() -> tuple[set[int], set[int]]:
    """The core of the measured server, and that of everything else; the same on a single-core machine."""
    allowed = sorted(os.sched_getaffinity(0))
    return {allowed[0]}, set(allowed[1:2] or allowed)


def raise_file_limit() -> None:
    """Raise the limit of open files of this process and its children, for the idle streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def compile_sources() -> None:
    """Compile the checkout to bytecode, as an installation does."""
    for package in ("engine", "cli", "benchmarks"):
        compileall.compile_dir(ROOT / package, quiet=2)


@contextlib.contextmanager
def on_cores(core: set[int]) -> Iterator[None]:
    """Run on these cores; processes started meanwhile stay there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def is_listening(port: int) -> bool:
    """Whether the port accepts a connection."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Server:
    """A process that serves on a port.

    Attributes:
        seconds: from its start to its first response.
    """

    def __init__(self, port: int, command: Command, core: set[int], log: Path) -> None:
        self.port = port
        self.seconds = 0.0
        self._log = log
        self._started = time.monotonic()
        inherited = {k: v for k, v in os.environ.items() if not _NOT_INHERITED.match(k)}
        path = os.pathsep.join(filter(None, [str(ROOT), inherited.get("PYTHONPATH")]))
        with on_cores(core), log.open("wb") as output:
            self._process = subprocess.Popen(
                command.argv,
                env={**inherited, "PYTHONPATH": path, **command.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def await_response(self, responds: Callable[[], bool], seconds: float) -> None:
        """Call `responds` every `POLL_SECONDS` until it returns True.

        Raises:
            ServerFailed: the server ended, or did not respond within `seconds` of its start.
        """
        while not responds():
            if self._process.poll() is not None or time.monotonic() > self._started + seconds:
                raise ServerFailed(f"the server does not respond: {self.log_tail()}")
            time.sleep(POLL_SECONDS)
        self.seconds = time.monotonic() - self._started

    def log_tail(self) -> str:
        """The last 500 characters of its output."""
        return self._log.read_text(errors="replace").strip()[-500:]

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def cpu_seconds(self) -> float:
        """The CPU time of all its threads so far, children included (`/proc/PID/task/*/schedstat`)."""
        return sum(map(_cpu_ns, _process_tree(self._process.pid))) / 1e9

    @property
    def resident_bytes(self) -> int:
        """Resident memory, children included."""
        return sum(map(_resident_bytes, _process_tree(self._process.pid)))

    def pause(self) -> None:
        """Stop the process, so that it takes no CPU time from others."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue a paused process."""
        self._signal(signal.SIGCONT)

    def request_report(self) -> None:
        """Make a timed server write its measurements to its file."""
        self._process.send_signal(signal.SIGUSR2)

    def stop(self) -> None:
        """Terminate the process; kill it if it has not ended after 2 s."""
        self._signal(signal.SIGTERM)
        self.resume()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _process_tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _process_tree(int(child))


def _cpu_ns(pid: int) -> int:
    """The CPU nanoseconds of the current threads of a process."""
    return sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """A temporary directory for configurations and output."""
    with tempfile.TemporaryDirectory(prefix="dragoman-bench-") as directory:
        yield Path(directory)
