"""Which branches of templates have run.

Contract: a branch is counted by a line of generated code, written only where coverage is asked for.
Must not know how templates are written as code.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.locations import Node


@dataclass(slots=True)
class Coverage:
    """Which branches of the templates have run: for each branch its node, and a count.

    A compiler given one writes counting code; without it nothing is counted and nothing is paid.
    """

    branches: list[tuple[Node, str]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def branch(self, node: Node, label: str) -> int:
        """Register a branch; its number."""
        self.branches.append((node, label))
        self.counts.append(0)
        return len(self.counts) - 1
