"""Findings in a mapping: what is wrong, where, and what may have been meant.

Contract: a diagnostic has a stable code and a location; its text never contains a secret.
Must not know YAML, HTTP libraries or printing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from engine.locations import Span

#: A note is a fact that matters only under conditions that a check does not know, such as the environment.
Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding in a mapping: what is wrong, where, and what may have been meant.

    `code` is stable and documented; tests and tools rely on it, never on `message`.
    """

    code: str
    message: str
    span: Span
    severity: Severity = "error"
    hint: str | None = None

    @property
    def sort_key(self) -> tuple[str, int, int, str]:
        return (self.span.file.name, self.span.line, self.span.column, self.code)


@dataclass(slots=True)
class Findings:
    """Collects diagnostics, each once, ordered by location.

    Attributes:
        reports: how many errors were reported, including duplicates: a part of a mapping has errors if this
            number grew while it was checked.
    """

    _found: dict[tuple[str, str, str, int, int], Diagnostic] = field(default_factory=dict)
    reports: int = 0

    def error(self, code: str, message: str, span: Span, hint: str | None = None) -> None:
        self.add(Diagnostic(code, message, span, "error", hint))

    def warning(self, code: str, message: str, span: Span, hint: str | None = None) -> None:
        self.add(Diagnostic(code, message, span, "warning", hint))

    def note(self, code: str, message: str, span: Span, hint: str | None = None) -> None:
        self.add(Diagnostic(code, message, span, "note", hint))

    def add(self, diagnostic: Diagnostic) -> None:
        self.reports += diagnostic.severity == "error"
        span = diagnostic.span
        location = (span.file.name, span.line, span.column)
        self._found.setdefault((diagnostic.code, diagnostic.message, *location), diagnostic)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        for diagnostic in diagnostics:
            self.add(diagnostic)

    @property
    def has_errors(self) -> bool:
        return any(d.severity == "error" for d in self._found.values())

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(sorted(self._found.values(), key=lambda d: d.sort_key))

    def __len__(self) -> int:
        return len(self._found)


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """A hint "did you mean …" for a misspelt name, or None if no known name is similar."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else None
