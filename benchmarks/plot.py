"""Results as an SVG bar chart, with one panel for each of some measures.

Contract: the same results give the same bytes. Colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from benchmarks.contenders import CONTENDERS
from benchmarks.measures import MEASURES, Measure
from benchmarks.report import number
from benchmarks.results import Results

_OWN = "dragoman"
_PANELS = ("models", "chat", "chunks", "added")
_SHOWN = [each.name for each in CONTENDERS if each.name not in ("direct", "reverse")]

# Pixels.
_PANEL_WIDTH, _GAP, _MARGIN = 360, 24, 12
_NAME_WIDTH, _VALUE_WIDTH = 74, 66
_TITLE_HEIGHT, _ROW, _BAR = 30, 24, 14
_PANEL_HEIGHT = _TITLE_HEIGHT + len(_SHOWN) * _ROW + 16

_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 }
  .name { text-anchor: end }
  .quiet { fill: #8c959f }
  rect { fill: #afb8c1 }
  rect.own { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    rect { fill: #57606a }
    rect.own { fill: #4493f8 }
  }
"""


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'  <text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(words)}</text>'


def _bar(name: str, value: float, most: float, x: float, y: float) -> Iterator[str]:
    """One contender: its name, its bar and its value."""
    width = max(1.5, (_PANEL_WIDTH - _NAME_WIDTH - _VALUE_WIDTH) * max(value, 0.0) / most)
    left = x + _NAME_WIDTH
    kind = "own" if name == _OWN else "other"
    yield _text(left - 6, y + _BAR - 3, name, "name")
    yield f'  <rect x="{left:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_BAR}" rx="2" class="{kind}"/>'
    yield _text(left + width + 6, y + _BAR - 3, number(value))


def _panel(results: Results, measure: Measure, x: float, y: float) -> Iterator[str]:
    better = "more is better" if measure.more_is_better else "less is better"
    yield _text(x, y + 14, f"{measure.title}, {measure.unit}", "title")
    medians = {name: results.median(measure.name, name) for name in _SHOWN}
    found = {name: value for name, value in medians.items() if value is not None}
    for row, (name, value) in enumerate(found.items()):
        yield from _bar(name, value, max(*found.values(), 1e-9), x, y + _TITLE_HEIGHT + row * _ROW - 4)
    yield _text(x, y + _TITLE_HEIGHT + len(found) * _ROW + 8, better, "quiet")


def svg(results: Results) -> str:
    """The chart of a run."""
    width = 2 * _MARGIN + 2 * _PANEL_WIDTH + _GAP
    height = 2 * _MARGIN + (len(_PANELS) + 1) // 2 * (_PANEL_HEIGHT + _GAP)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">']
    lines += ["  <title>Dragoman compared with other proxies</title>", f"  <style>{_STYLE}  </style>"]
    by_name = {measure.name: measure for measure in MEASURES}
    for index, name in enumerate(_PANELS):
        x = _MARGIN + index % 2 * (_PANEL_WIDTH + _GAP)
        y = _MARGIN + index // 2 * (_PANEL_HEIGHT + _GAP)
        lines += _panel(results, by_name[name], x, y)
    return "\n".join([*lines, "</svg>", ""])
