"""What is told: entries with a place in the YAML, and others below them.

Contract: plain data, which whoever prints it lays out.
Must not know plans, nor how anything is printed.
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
    """One thing that is told.

    Attributes:
        label: what it is, such as `upstream`, `call`, `answer 2`.
        text: the same in one line; may be empty.
        span: where it stands, or None.
        value: a JSON value that belongs to it, such as a body; `ABSENT` where there is none.
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
        """The same as JSON: `{label, text, file, line, value, below}`, of these only what there is."""
        found: dict[str, Any] = {"label": self.label}
        found |= {"text": self.text} if self.text else {}
        found |= {"file": self.span.file.name, "line": self.span.line} if self.span is not None else {}
        found |= {"value": self.value} if self.has_value else {}
        return found | ({"below": [entry.as_data() for entry in self.below]} if self.below else {})


def shown(node: Node) -> str:
    """What a node holds, in one line."""
    value = node.value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= _MAX_SHOWN else line[: _MAX_SHOWN - 1] + "…"


def duration(seconds: float) -> str:
    """Seconds as the language writes them: `250ms`, `2s`, `5m`."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    milliseconds = seconds * 1000
    return f"{milliseconds:g}ms" if seconds < 1 else f"{seconds:g}s"


def size(number: int) -> str:
    """Bytes in the largest unit that divides them."""
    for power, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if number and number % power == 0:
            return f"{number // power} {unit}"
    return f"{number} bytes"
