"""Findings and tables on the terminal: text with the source line and a caret, JSON, GitHub annotations.

Contract: what goes to no terminal has no colours, and is printed without the library of these.
"""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, TextIO

from engine import Diagnostic, Span

if TYPE_CHECKING:
    from engine import Entry

#: Who calls a URL, with the password.
_USERINFO = re.compile(r"(?<=://)[^/@\s\"'$]+(?=@)")

_COLORS = {"error": "bold red", "warning": "bold yellow"}

#: A piece of a line, and its style.
_Part = tuple[str, str]

#: Control characters, which a terminal would act on; tabs and line ends aside.
_MOVING: Final = dict.fromkeys(code for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n")


def _print(*parts: _Part, stderr: bool = False) -> None:
    """Print one line."""
    stream = sys.stderr if stderr else sys.stdout
    if _may_have_colours(stream):
        from cli import terminal

        terminal.show(parts, stderr)
    else:
        print("".join(text for text, _ in parts).translate(_MOVING), file=stream, flush=True)


def _may_have_colours(stream: TextIO) -> bool:
    asked = os.environ.get("FORCE_COLOR") or os.environ.get("TTY_COMPATIBLE") == "1"
    return bool(asked) or stream.isatty()


def findings(diagnostics: Iterable[Diagnostic], output_format: str) -> None:
    """Print findings to standard output."""
    _FORMATS[output_format](list(diagnostics))


def _as_text(diagnostics: Sequence[Diagnostic]) -> None:
    secrets = [diagnostic for diagnostic in diagnostics if diagnostic.code == "secret-literal"]
    for diagnostic in diagnostics:
        _print(*_heading(diagnostic))
        for line in _excerpt(diagnostic, secrets):
            _print((line, "" if line.lstrip().startswith("|") else "dim"))
        if diagnostic.hint:
            _print((f"  = {diagnostic.hint}", "cyan"))


def _heading(diagnostic: Diagnostic) -> tuple[_Part, ...]:
    return (
        (f"{diagnostic.span}: ", "bold"),
        (f"{diagnostic.severity}[{diagnostic.code}]", _COLORS[diagnostic.severity]),
        (f": {diagnostic.message}", ""),
    )


def _excerpt(diagnostic: Diagnostic, secrets: Sequence[Diagnostic]) -> list[str]:
    """The source line, and a caret below what is meant; control characters are shown as such."""
    span = diagnostic.span
    line = _masked(diagnostic, secrets)
    if not line.strip():
        return []
    number = str(span.line)
    before, below = _printable(line[: span.column - 1]), _printable(line[span.column - 1 :])
    width = max(1, min(_width(_printable(line[span.column - 1 :][: span.length])), _width(below)))
    margin = " " * len(number)
    return [f"  {number} | {before}{below}", f"  {margin} | {' ' * _width(before)}{'^' * width}"]


def _masked(diagnostic: Diagnostic, secrets: Sequence[Diagnostic]) -> str:
    """The line of a finding, with stars in the place of the secrets in it."""
    span = diagnostic.span
    line = _USERINFO.sub(_stars, span.file.line(span.line))
    for secret in (found.span for found in secrets):
        if (secret.file.name, secret.line) == (span.file.name, span.line):
            start, end = secret.column - 1, secret.column - 1 + secret.length
            line = line[:start] + "*" * len(line[start:end]) + line[end:]
    return line


def _stars(found: re.Match[str]) -> str:
    return "*" * len(found[0])


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _width(text: str) -> int:
    """How many columns a text takes on a terminal."""
    return sum(_COLUMNS.get(unicodedata.category(character), _columns(character)) for character in text)


#: Marks that stand over or around the character before them take no column.
_COLUMNS = {"Mn": 0, "Me": 0}


def _columns(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _as_json(diagnostics: Sequence[Diagnostic]) -> None:
    print(json.dumps([as_data(diagnostic) for diagnostic in diagnostics], indent=2, ensure_ascii=False))


def as_data(diagnostic: Diagnostic) -> dict[str, object]:
    """A finding as plain data."""
    span = diagnostic.span
    return {
        "file": span.file.name,
        "line": span.line,
        "column": span.column,
        "length": span.length,
        "severity": diagnostic.severity,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
    }


def _as_github(diagnostics: Sequence[Diagnostic]) -> None:
    for diagnostic in diagnostics:
        span = diagnostic.span
        text = diagnostic.message + (f" ({diagnostic.hint})" if diagnostic.hint else "")
        place = f"file={_property(span.file.name)},line={span.line},col={span.column}"
        print(f"::{diagnostic.severity} {place},title={_property(diagnostic.code)}::{_data(text)}")


def _data(text: str) -> str:
    """Escaped as the message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escaped as a property of a workflow command."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


_FORMATS: dict[str, Callable[[Sequence[Diagnostic]], None]] = {
    "text": _as_text,
    "json": _as_json,
    "github": _as_github,
}


def summary(errors: int, warnings: int, checked: str, stderr: bool = False) -> None:
    """The last line: what was looked at and what was found."""
    if errors or warnings:
        style = "red" if errors else "yellow"
        said = f"{_count(errors, 'error')}, {_count(warnings, 'warning')} in {checked}"
    else:
        style, said = "green", f"{checked}: no findings"
    _print((said, style), stderr=stderr)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


count = _count


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A plain table; the last column is as wide as it likes."""
    cells = [list(columns), *(list(row) for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        text = "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        line(text.rstrip(), style="" if number else "bold")


def line(text: str, stderr: bool = False, style: str = "") -> None:
    """One line of text."""
    _print((text, style), stderr=stderr)


# --- Explanations ----------------------------------------------------------------------------------------


def entries(told: Iterable[Entry], depth: int = 0, around: Span | None = None) -> None:
    """What is explained: a line for each entry, those below it further in, with the place it has."""
    for entry in told:
        label = "  " * depth + entry.label + (": " if entry.text else "")
        place = _place_in(entry.span, around)
        _print((label, "bold"), (_printable(entry.text), ""), (place, "dim"))
        entries(entry.below, depth + 1, entry.span or around)
        if entry.has_value:
            _value(entry.value, "  " * (depth + 2))


def _value(value: object, indent: str) -> None:
    written = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    for row in written.splitlines():
        line(indent + _printable(row), style="cyan")


def _place_in(span: Span | None, around: Span | None) -> str:
    """A place, told by as much as the one around it does not tell."""
    if span is None or (around is not None and (span.file, span.line) == (around.file, around.line)):
        return ""
    is_same = around is not None and span.file.name == around.file.name
    return f"  :{span.line}" if is_same else f"  {span.file.name}:{span.line}"
