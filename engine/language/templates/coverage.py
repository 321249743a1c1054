"""Coverage of the branches of templates.

Contract: a branch is counted by a line of generated code, which is written only if coverage is measured.
Must not know how templates are written as code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from engine.locations import Node


@dataclass(slots=True)
class Coverage:
    """The branches of templates, each with its node, and how often each has run.

    A compiler with a `Coverage` writes code that counts; without one there is no such code and no cost.
    """

    branches: list[tuple[Node, str]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def branch(self, node: Node, label: str) -> int:
        """Register a branch; return its number."""
        self.branches.append((node, label))
        self.counts.append(0)
        return len(self.counts) - 1

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count what runs inside."""
        before = list(self.counts)
        yield
        self.counts[:] = before
