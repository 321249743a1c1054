"""Output for terminals: colors, tables that fit the width, progress bars.

Contract: the only importer of rich. Imported only if the output is a terminal, or colors are forced.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

#: Columns of space between two columns of a table.
_GAP: Final = 2
#: The smallest width of the last column of a table, which has sentences, unless these are shorter.
_LEAST: Final = 20


def show(parts: Iterable[tuple[str, str]], stderr: bool) -> None:
    """Print a line of (text, style) pairs, without line wrapping or markup: the text may come from files."""
    console = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True, emoji=False)
    console.print(Text.assemble(*parts))


# --- Tables ----------------------------------------------------------------------------------------------


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], heading: int, has_colors: bool) -> None:
    """Print a table that fits the terminal's width, or a list if it is too narrow for a table.

    Columns without a value are left out. No word of a table is broken.

    Args:
        heading: the number of columns that are the heading of a row in a list.
    """
    # Without a color system no escape sequence is written, while NO_COLOR keeps bold text.
    console = Console(color_system="auto" if has_colors else None, highlight=False, markup=False, emoji=False)
    widths = _widths([columns, *rows], console.width)
    if widths is None:
        _list(console, columns, rows, heading)
        return
    shown = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    used = [number for number in range(len(columns)) if any(row[number] for row in rows)]
    for number in used:
        shown.add_column(Text(columns[number]), width=widths[number], overflow="fold")
    for row in rows:
        shown.add_row(*(Text(row[number]) for number in used))
    console.print(shown)


def _widths(rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """The width of each column in a table of a width; None if a word would have to be broken.

    What remains after the longest words is distributed in proportion to what the columns lack. A column
    without a value has no width.
    """
    cells = list(zip(*rows, strict=True))
    used = [any(column[1:]) for column in cells]
    needed = [max(map(cell_len, column)) if use else 0 for column, use in zip(cells, used, strict=True)]
    least = [
        max(cell_len(word) for cell in column for word in cell.split(" ")) if use else 0
        for column, use in zip(cells, used, strict=True)
    ]
    least[-1] = max(least[-1], min(needed[-1], _LEAST))
    free = width - _GAP * (sum(used) - 1) - sum(least)
    if free < 0:
        return None
    lacking = [most - few for most, few in zip(needed, least, strict=True)]
    total = max(sum(lacking), 1)
    return [few + min(lack, free * lack // total) for few, lack in zip(least, lacking, strict=True)]


def _list(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], heading: int) -> None:
    """Print each row as a heading and indented lines."""
    is_labelled = len(columns) > heading + 1
    for row in rows:
        console.print(Text(" ".join(filter(None, row[:heading])), style="bold", overflow="fold"))
        for name, cell in zip(columns[heading:], row[heading:], strict=True):
            if cell:
                label = f"{name.lower()}: " if is_labelled else ""
                console.print(Padding(Text(label + cell, overflow="fold"), (0, 0, 0, _GAP)))


# --- Progress --------------------------------------------------------------------------------------------


class ProgressBar:
    """A progress bar on standard error, which is removed when it stops."""

    def __init__(self, label: str, total: int, has_colors: bool) -> None:
        console = Console(stderr=True, color_system="auto" if has_colors else None)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(
            *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._task = self._progress.add_task(label, total=total)
        self._progress.start()

    def update(self, completed: int) -> None:
        """Show the number of completed items."""
        self._progress.update(self._task, completed=completed)

    def stop(self) -> None:
        """Remove the bar."""
        self._progress.stop()
