"""Colored output.

Contract: the only importer of rich. Imported only if the output is a terminal, or colors are forced.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text


def show(parts: Iterable[tuple[str, str]], stderr: bool) -> None:
    """Print a line of (text, style) pairs, without line wrapping or markup: the text may come from files."""
    console = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True, emoji=False)
    console.print(Text.assemble(*parts))
