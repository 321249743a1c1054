"""Entries of an explanation: a tree, with locations in the YAML.

Contract: plain data; the caller formats it. Must not know plans or printing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from engine.locations import Node, Span
from engine.values import ABSENT

_MAX_SHOWN: Final = 160
_UNITS: Final = ((3600, "h"), (60, "m"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an explanation.

    Attributes:
        label: its kind, such as `upstream`, `call`, `respond 2`.
        text: a description in one line; may be empty.
        span: its location, or None.
        below: its child entries.
        value: a related JSON value, such as a body; `ABSENT` if there is none.
    """

    label: str
    text: str = ""
    span: Span | None = None
    below: tuple[Entry, ...] = ()
    value: Any = ABSENT

    @property
    def has_value(self) -> bool:
        return self.value is not ABSENT

    def as_data(self) -> dict[str, Any]:
        """The entry as JSON: `{label, text, file, line, value, below}`, without empty fields."""
        found: dict[str, Any] = {"label": self.label}
        found |= {"text": self.text} if self.text else {}
        found |= {"file": self.span.file.name, "line": self.span.line} if self.span is not None else {}
        found |= {"value": self.value} if self.has_value else {}
        return found | ({"below": [entry.as_data() for entry in self.below]} if self.below else {})


def shown(node: Node) -> str:
    """The value of a node, in one line."""
    value = node.value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= _MAX_SHOWN else line[: _MAX_SHOWN - 1] + "…"


def duration(seconds: float) -> str:
    """A duration in the notation of the language: `250ms`, `2s`, `5m`."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    milliseconds = seconds * 1000
    return f"{milliseconds:g}ms" if seconds < 1 else f"{seconds:g}s"


def size(number: int) -> str:
    """A number of bytes, in the largest unit that divides it."""
    for power, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if number and number % power == 0:
            return f"{number // power} {unit}"
    return f"{number} bytes"
