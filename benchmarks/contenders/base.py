"""The description of a contender."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.requests import Requests
from benchmarks.servers import Command


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """The port to serve on, the upstream's URL, and a directory for the contender's files."""

    port: int
    upstream: str
    directory: Path


def nothing_missing() -> str | None:
    """The `missing` of a contender that needs no installation."""
    return None


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that is measured.

    Attributes:
        requests: the requests that it supports, by the names that measures use.
        command: returns the command that starts it.
        missing: returns why it cannot be started here; None if it can.
        slice_factor: the duration of its slices, relative to others: a slow server needs longer ones.
        streams_command: the same as `command`, for thousands of idle streams, if that needs other options.
    """

    name: str
    about: str
    requests: Requests
    command: Callable[[LaunchOptions], Command]
    missing: Callable[[], str | None] = nothing_missing
    slice_factor: float = 1.0
    streams_command: Callable[[LaunchOptions], Command] | None = None


def module(name: str, *arguments: str) -> Command:
    """The command that runs a Python module."""
    return Command([sys.executable, "-m", name, *arguments])
