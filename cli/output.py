"""Standard output and standard error that may be closed, full, or a pipe that nobody reads.

Contract: what cannot be written to standard error is dropped, as there is nowhere to report it. Standard
output is the result of a command: where it cannot be written, the command ends with status 1 and a line on
standard error, or without one where a pipe was closed by its reader. A stream that is closed from the start
is the null device. No stream raises for a character that its encoding does not have.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, TextIO, cast

_STREAMS: Final = (0, 1, 2)


class _Guarded:
    """A text stream whose failures to write go to `on_failure`."""

    def __init__(self, stream: TextIO, on_failure: Callable[[TextIO, OSError], None]) -> None:
        self.stream = stream
        self.on_failure = on_failure

    def write(self, text: str) -> int:
        """Write a text, or hand over why that failed."""
        try:
            return self.stream.write(text)
        except OSError as error:
            self.on_failure(self.stream, error)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, as `write`."""
        try:
            self.stream.flush()
        except OSError as error:
            self.on_failure(self.stream, error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Guard the standard streams while a command runs.

    Raises:
        SystemExit: standard output could not be written.
    """
    _open_missing()
    before = sys.stdout, sys.stderr
    sys.stdout = cast("TextIO", _Guarded(_lenient(sys.stdout, 1), _end))
    sys.stderr = cast("TextIO", _Guarded(_lenient(sys.stderr, 2), _drop))
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            sys.stdout, sys.stderr = before


def unguarded(stream: TextIO) -> TextIO:
    """The stream itself, for who looks after failures."""
    return stream.stream if isinstance(stream, _Guarded) else stream


def outlive_standard_output() -> None:
    """From now on drop what cannot be written to standard output too: for commands that serve."""
    if isinstance(sys.stdout, _Guarded):
        sys.stdout.on_failure = _drop


def _open_missing() -> None:
    """Open the null device for each standard stream that is closed, so that no socket takes its number."""
    for number in _STREAMS:
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process lives


def _lenient(stream: TextIO | None, number: int) -> TextIO:
    """A stream that writes what its encoding does not have as an escape sequence."""
    if stream is None:
        return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _drop(stream: TextIO, error: OSError) -> None:
    pass


def _end(stream: TextIO, error: OSError) -> None:
    """End the command; what is still buffered goes nowhere."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    if error.errno != errno.EPIPE:
        print(f"Error: cannot write to standard output: {error.strerror}", file=sys.stderr)
    raise SystemExit(1)
