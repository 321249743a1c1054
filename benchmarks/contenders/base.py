"""What a contender is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.requests import Asks
from benchmarks.servers import Command


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contender is to serve, the upstream's URL, and a directory of its own."""

    port: int
    upstream: str
    directory: Path


def present() -> str | None:
    """Nothing is missing."""
    return None


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of doing what is measured.

    Attributes:
        asks: what it can be asked, by the names that measures use.
        command: how it is started.
        missing: why it cannot be started here; None if it can.
        patience: a slice is so many times as long, for those that give few answers in a short one.
        holding: how it is started to hold thousands of streams, where that is not as ever.
    """

    name: str
    about: str
    asks: Asks
    command: Callable[[Place], Command]
    missing: Callable[[], str | None] = present
    patience: float = 1.0
    holding: Callable[[Place], Command] | None = None


def module(name: str, *arguments: str) -> Command:
    """A Python module of ours."""
    return Command([sys.executable, "-m", name, *arguments])
