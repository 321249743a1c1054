"""Prints findings, tables and explanations: text with the source line and a caret, JSON, GitHub annotations.

Contract: output to anything but a terminal has no colors, and does not import the library for colors.
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

#: The user information of a URL, which may include a password.
_USERINFO = re.compile(r"(?<=://)[^/@\s\"'$]+(?=@)")

_COLORS = {"error": "bold red", "warning": "bold yellow"}

#: A part of a line, and its style.
_Part = tuple[str, str]

#: Control characters that a terminal would interpret, except tabs and line feeds.
_CONTROL: Final = dict.fromkeys(code for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n")


def _print(*parts: _Part, stderr: bool = False) -> None:
    """Print one line."""
    stream = sys.stderr if stderr else sys.stdout
    if _has_colors(stream):
        from cli import terminal

        terminal.show(parts, stderr)
    else:
        print("".join(text for text, _ in parts).translate(_CONTROL), file=stream, flush=True)


def _has_colors(stream: TextIO) -> bool:
    is_forced = os.environ.get("FORCE_COLOR") or os.environ.get("TTY_COMPATIBLE") == "1"
    return bool(is_forced) or stream.isatty()


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
    """The source line, and carets below the location; control characters are replaced with spaces."""
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
    """The source line of a finding, with secrets replaced by asterisks."""
    span = diagnostic.span
    line = _USERINFO.sub(_asterisks, span.file.line(span.line))
    for secret in (found.span for found in secrets):
        if (secret.file.name, secret.line) == (span.file.name, span.line):
            start, end = secret.column - 1, secret.column - 1 + secret.length
            line = line[:start] + "*" * len(line[start:end]) + line[end:]
    return line


def _asterisks(found: re.Match[str]) -> str:
    return "*" * len(found[0])


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _width(text: str) -> int:
    """The width of a text on a terminal, in columns."""
    return sum(_COLUMNS.get(unicodedata.category(character), _columns(character)) for character in text)


#: Combining marks have no width.
_COLUMNS = {"Mn": 0, "Me": 0}


def _columns(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _as_json(diagnostics: Sequence[Diagnostic]) -> None:
    print(json.dumps([as_data(diagnostic) for diagnostic in diagnostics], indent=2, ensure_ascii=False))


def as_data(diagnostic: Diagnostic) -> dict[str, object]:
    """A finding as JSON data."""
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
        location = f"file={_property(span.file.name)},line={span.line},col={span.column}"
        print(f"::{diagnostic.severity} {location},title={_property(diagnostic.code)}::{_data(text)}")


def _data(text: str) -> str:
    """The text, escaped as the message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """The text, escaped as a property of a workflow command."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


_FORMATS: dict[str, Callable[[Sequence[Diagnostic]], None]] = {
    "text": _as_text,
    "json": _as_json,
    "github": _as_github,
}


def summary(errors: int, warnings: int, checked: str, stderr: bool = False) -> None:
    """Print the summary: the number of findings, and the checked files."""
    if errors or warnings:
        style = "red" if errors else "yellow"
        text = f"{count(errors, 'error')}, {count(warnings, 'warning')} in {checked}"
    else:
        style, text = "green", f"{checked}: no findings"
    _print((text, style), stderr=stderr)


def count(number: int, word: str) -> str:
    """A number with a noun, in the plural unless it is 1."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a plain table; the width of the last column is not limited."""
    cells = [list(columns), *(list(row) for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        text = "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        line(text.rstrip(), style="" if number else "bold")


def line(text: str, stderr: bool = False, style: str = "") -> None:
    """Print one line of text."""
    _print((text, style), stderr=stderr)


# --- Explanations ----------------------------------------------------------------------------------------


def entries(tree: Iterable[Entry], depth: int = 0, around: Span | None = None) -> None:
    """Print an explanation: one line for each entry with its location, child entries indented."""
    for entry in tree:
        label = "  " * depth + entry.label + (": " if entry.text else "")
        location = _location(entry.span, around)
        _print((label, "bold"), (_printable(entry.text), ""), (location, "dim"))
        entries(entry.below, depth + 1, entry.span or around)
        if entry.has_value:
            _value(entry.value, "  " * (depth + 2))


def _value(value: object, indent: str) -> None:
    written = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    for row in written.splitlines():
        line(indent + _printable(row), style="cyan")


def _location(span: Span | None, around: Span | None) -> str:
    """A location, without the parts that equal those of the parent entry."""
    if span is None or (around is not None and (span.file, span.line) == (around.file, around.line)):
        return ""
    is_same = around is not None and span.file.name == around.file.name
    return f"  :{span.line}" if is_same else f"  {span.file.name}:{span.line}"
