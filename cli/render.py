"""Prints findings, tables and explanations: text with the source line and a caret, JSON, GitHub annotations.

Contract: output to anything but a terminal has no colors, is not truncated or wrapped, and does not import
the library for terminals. NO_COLOR and TERM=dumb disable colors on a terminal too, FORCE_COLOR enables them
elsewhere.
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

_COLORS = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
_GITHUB_LEVELS = {"error": "error", "warning": "warning", "note": "notice"}

#: A part of a line, and its style.
_Part = tuple[str, str]

#: Control characters that a terminal would interpret, except tabs and line feeds.
_CONTROL: Final = dict.fromkeys(code for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n")


def _print(*parts: _Part, stderr: bool = False) -> None:
    """Print one line."""
    stream = sys.stderr if stderr else sys.stdout
    if has_colors(stream):
        from cli import terminal

        terminal.show(parts, stderr)
    else:
        print("".join(text for text, _ in parts).translate(_CONTROL), file=stream, flush=True)


def has_colors(stream: TextIO) -> bool:
    """Whether output to a stream has colors."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    is_forced = os.environ.get("FORCE_COLOR") or os.environ.get("TTY_COMPATIBLE") == "1"
    return bool(is_forced) or stream.isatty()


def findings(diagnostics: Iterable[Diagnostic], output_format: str) -> None:
    """Print findings to standard output."""
    _FORMATS[output_format](list(diagnostics))


def findings_to_stderr(diagnostics: Iterable[Diagnostic]) -> None:
    """Print findings as text to standard error, for commands whose messages are there."""
    _as_text(list(diagnostics), stderr=True)


def _as_text(diagnostics: Sequence[Diagnostic], stderr: bool = False) -> None:
    secrets = [diagnostic for diagnostic in diagnostics if diagnostic.code == "secret-literal"]
    for diagnostic in diagnostics:
        hint = diagnostic.hint
        if not diagnostic.span.line or diagnostic.severity == "note":
            _print(*_heading(diagnostic), (f" ({hint})" if hint else "", "cyan"), stderr=stderr)
            continue
        _print(*_heading(diagnostic), stderr=stderr)
        for line in _excerpt(diagnostic, secrets):
            _print((line, "" if line.lstrip().startswith("|") else "dim"), stderr=stderr)
        if hint:
            _print((f"  = {hint}", "cyan"), stderr=stderr)


def _heading(diagnostic: Diagnostic) -> tuple[_Part, ...]:
    """The location, the code and the message. The message of a finding without a line names the file."""
    span = diagnostic.span
    return (
        (f"{span}: " if span.line else "", "bold"),
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
    """A finding as JSON data; `line` and `column` are null if it concerns the file as a whole."""
    span = diagnostic.span
    return {
        "file": span.file.name,
        "line": span.line or None,
        "column": span.column or None,
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
        location = f"file={_property(span.file.name)}"
        if span.line:
            location += f",line={span.line},col={span.column}"
        level = _GITHUB_LEVELS[diagnostic.severity]
        print(f"::{level} {location},title={_property(diagnostic.code)}::{_data(text)}")


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


def summary(errors: int, warnings: int, notes: int, checked: str) -> None:
    """Print the summary: the number of findings, and the checked files."""
    noted = f", {count(notes, 'note')}" if notes else ""
    if errors or warnings:
        style = "red" if errors else "yellow"
        text = f"{count(errors, 'error')}, {count(warnings, 'warning')}{noted} in {checked}"
    elif notes:
        style, text = "green", f"{checked}: no errors or warnings{noted}"
    else:
        style, text = "green", f"{checked}: no findings"
    _print((text, style))


def count(number: int, word: str) -> str:
    """A number with a noun, in the plural unless it is 1."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], heading: int = 1) -> None:
    """Print a table: wrapped to the width of a terminal, elsewhere with one line for each row.

    Args:
        heading: the number of columns that identify a row, for terminals that are too narrow for a table.
    """
    cells = [list(columns), *(list(row) for row in rows)]
    if sys.stdout.isatty():
        from cli import terminal

        printable = [[_printable(cell) for cell in row] for row in cells]
        terminal.table(printable[0], printable[1:], heading, has_colors(sys.stdout))
        return
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
