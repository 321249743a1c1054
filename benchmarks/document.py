"""The page of figures: from the JSON of a run to the table and the picture of `docs/benchmarks.md`.

python -m benchmarks.document FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks import plot, report
from benchmarks.results import Figures
from benchmarks.servers import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures: written by benchmarks/document.py -->", "<!-- end of figures -->"


def remark(figures: Figures) -> str:
    """How large the run was, and of what."""
    extent, versions = figures.about["extent"], figures.about["versions"]
    named = ", ".join(f"{name} {text}" for name, text in versions.items())
    return f"{extent['rounds']} rounds of slices of {extent['seconds']:g} s; {named}."


def renewed(page: str, figures: Figures) -> str:
    """The page with the figures of a run in the place of those it had."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{report.text(figures)}\n\n{remark(figures)}\n\n{END}{after}"


def main(file: Path) -> None:
    figures = Figures(**json.loads(file.read_text()))
    PAGE.write_text(renewed(PAGE.read_text(), figures))
    PAGE.with_suffix(".svg").write_text(plot.svg(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
