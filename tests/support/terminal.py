"""The command line on a pseudo-terminal of a given width.

Contract: on systems without pseudo-terminals the calling test is skipped. Output to the terminal is returned
as written, with escape sequences; `shown` interprets those that erase lines.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.times import START

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "cli")
#: Variables that decide about colors, which a test sets itself.
_COLORS = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "LINES")
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(slots=True)
class Terminal:
    """A process on a terminal.

    Attributes:
        pieces: output to the terminal so far.
    """

    process: subprocess.Popen[str]
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The output to the terminal so far, with LF line ends."""
        return "".join(self.pieces).replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """The lines without colors."""
        return plain(self.text).splitlines()


@contextmanager
def on_terminal(
    *arguments: str,
    columns: int = 80,
    env: Mapping[str, str] | None = None,
    streams: Sequence[str] = ("stdout", "stderr"),
    command: Sequence[str] = COMMAND,
    directory: Path = ROOT,
) -> Iterator[Terminal]:
    """Runs a command whose `streams` are a terminal; the others are pipes."""
    master, slave = pytest.importorskip("pty").openpty()
    size = struct.pack("HHHH", 50, columns, 0, 0)
    pytest.importorskip("fcntl").ioctl(slave, pytest.importorskip("termios").TIOCSWINSZ, size)
    inherited = {name: value for name, value in os.environ.items() if name not in _COLORS}
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=directory,
        env={**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **(env or {})},
        stdin=slave,
        stdout=slave if "stdout" in streams else subprocess.PIPE,
        stderr=slave if "stderr" in streams else subprocess.PIPE,
        text=True,
    )
    os.close(slave)
    terminal = Terminal(process)
    reader = threading.Thread(target=_collect, args=(master, terminal.pieces), daemon=True)
    reader.start()
    try:
        yield terminal
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(START)
        reader.join(START)
        os.close(master)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def run_on_terminal(
    *arguments: str,
    columns: int = 80,
    env: Mapping[str, str] | None = None,
    directory: Path = ROOT,
    streams: Sequence[str] = ("stdout", "stderr"),
    command: Sequence[str] = COMMAND,
) -> tuple[int, str, str]:
    """Runs a command; returns its status, the terminal's text, and the text of the other stream."""
    with on_terminal(
        *arguments, columns=columns, env=env, streams=streams, command=command, directory=directory
    ) as terminal:
        out, err = terminal.process.communicate(timeout=START)
    return terminal.process.returncode, terminal.text, (out or "") + (err or "")


def _collect(master: int, pieces: list[str]) -> None:
    # Reading fails with EIO once no process has the terminal open.
    with suppress(OSError):
        while data := os.read(master, 65_536):
            pieces.append(data.decode("utf-8", "replace"))


def plain(text: str) -> str:
    """Returns a text without escape sequences."""
    return _ESCAPE.sub("", text)


def shown(text: str) -> str:
    """Returns the lines that remain on the screen after output that moves the cursor up and erases lines."""
    rows, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\n|\r|[^\x1b\n\r]+", text):
        if part == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        elif part == "\r":
            column = 0
        elif part.startswith("\x1b"):
            count, action = int(part[2:-1]) if part[2:-1].isdigit() else 1, part[-1]
            if action == "A":
                row = max(0, row - count)
            elif action == "K":
                rows[row] = ""
        else:
            rows[row] = rows[row][:column].ljust(column) + part + rows[row][column + len(part) :]
            column += len(part)
    return "\n".join(rows).strip()
