"""Server processes: started on one core, watched, put to rest while another is measured.

Contract: Linux (cores, `/proc`). A server's output goes to a file; where it does not come up, `Failed` tells
the end of it.
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
#: Variables that a server does not inherit: options of this project, and what would make every start compile.
_NOT_INHERITED = re.compile("DRAGOMAN_|PYTHONDONTWRITEBYTECODE$")


class Failed(Exception):
    """A server did not come up, or went down."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a server is started. `env` comes before the environment there is."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


def cores() -> tuple[set[int], set[int]]:
    """The core of the server that is measured, and those of all else; the same where there is but one."""
    allowed = sorted(os.sched_getaffinity(0))
    return {allowed[0]}, set(allowed[1:2] or allowed)


def more_files() -> None:
    """Let this process and its children open as many files as idle streams take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def compile_sources() -> None:
    """Have byte code beside the sources of the checkout, as beside those that are installed."""
    for package in ("engine", "cli", "benchmarks"):
        compileall.compile_dir(ROOT / package, quiet=2)


@contextlib.contextmanager
def on(core: set[int]) -> Iterator[None]:
    """Run on a core; what is started meanwhile stays there."""
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


def listens(port: int) -> bool:
    """Whether a connection to a port comes up."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Server:
    """A process that serves on a port.

    Attributes:
        seconds: from its start to its first answer.
    """

    def __init__(self, port: int, command: Command, core: set[int], log: Path) -> None:
        self.port = port
        self.seconds = 0.0
        self._log = log
        self._started = time.monotonic()
        inherited = {k: v for k, v in os.environ.items() if not _NOT_INHERITED.match(k)}
        path = os.pathsep.join(filter(None, [str(ROOT), inherited.get("PYTHONPATH")]))
        with on(core), log.open("wb") as output:
            self._process = subprocess.Popen(
                command.argv,
                env={**inherited, "PYTHONPATH": path, **command.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def await_response(self, answers: Callable[[], bool], seconds: float) -> None:
        """Ask every `POLL_SECONDS` until there is an answer.

        Raises:
            Failed: there was none in time.
        """
        while not answers():
            if self._process.poll() is not None or time.monotonic() > self._started + seconds:
                raise Failed(f"it does not answer: {self.said()}")
            time.sleep(POLL_SECONDS)
        self.seconds = time.monotonic() - self._started

    def said(self) -> str:
        """The end of its output."""
        return self._log.read_text(errors="replace").strip()[-500:]

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far, children included (`/proc/PID/task/*/schedstat`)."""
        return sum(map(_on_cpu, _family(self._process.pid))) / 1e9

    @property
    def bytes(self) -> int:
        """Resident memory, children included."""
        return sum(map(_resident, _family(self._process.pid)))

    def rest(self) -> None:
        """Take no time from others."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._signal(signal.SIGCONT)

    def report(self) -> None:
        """Have it write down what it has measured of itself."""
        self._process.send_signal(signal.SIGUSR2)

    def stop(self) -> None:
        """End it, at once if it does not end soon."""
        self._signal(signal.SIGTERM)
        self.wake()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


def _on_cpu(pid: int) -> int:
    """Nanoseconds on a core, of the threads that a process has now."""
    return sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory for configurations and output."""
    with tempfile.TemporaryDirectory(prefix="dragoman-bench-") as directory:
        yield Path(directory)
