"""Text in colours.

Contract: imported where output goes to a terminal, or colours are asked for. The only importer of rich.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text


def show(parts: Iterable[tuple[str, str]], stderr: bool) -> None:
    """Print a line of pieces, each with its style. No line is broken and no markup read: what is printed is
    what files hold."""
    console = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True, emoji=False)
    console.print(Text.assemble(*parts))
