"""Handles standard streams that are closed, full, or a pipe without a reader.

Contract: failed writes to standard error are ignored, because there is nowhere to report them. If standard
output cannot be written, the command exits with status 1 and an error message, without one if the reader
closed the pipe. A stream that is closed at the start is replaced with the null device. Characters that a
stream cannot encode are escaped.
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
    """A text stream that calls `on_failure` for failed writes."""

    def __init__(self, stream: TextIO, on_failure: Callable[[TextIO, OSError], None]) -> None:
        self.stream = stream
        self.on_failure = on_failure

    def write(self, text: str) -> int:
        """Write a text; call `on_failure` if that fails."""
        try:
            return self.stream.write(text)
        except OSError as error:
            self.on_failure(self.stream, error)
            return len(text)

    def flush(self) -> None:
        """Flush the buffer; call `on_failure` if that fails."""
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
    """The underlying stream, for callers that handle failures."""
    return stream.stream if isinstance(stream, _Guarded) else stream


def outlive_standard_output() -> None:
    """Ignore failed writes to standard output from now on, for `serve`."""
    if isinstance(sys.stdout, _Guarded):
        sys.stdout.on_failure = _drop


def _open_missing() -> None:
    """Open the null device for each closed standard stream, so that no socket gets its file descriptor."""
    for number in _STREAMS:
        try:
            os.fstat(number)
        except OSError:
            # os.open returns the lowest free descriptor, which is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the process exits


def _lenient(stream: TextIO | None, number: int) -> TextIO:
    """The stream, set to escape characters that it cannot encode."""
    if stream is None:
        return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _drop(stream: TextIO, error: OSError) -> None:
    pass


def _end(stream: TextIO, error: OSError) -> None:
    """Exit the command, and discard the buffered output."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    if error.errno != errno.EPIPE:
        print(f"Error: cannot write to standard output: {error.strerror}", file=sys.stderr)
    raise SystemExit(1)
