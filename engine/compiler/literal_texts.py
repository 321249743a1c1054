"""Literal text that looks like an expression: a variable without `${ … }`, or a foreign placeholder.

Contract: warnings only, because any text may be meant. Text that is never an expression, such as a
description or a JSON Schema, is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from engine.diagnostics import Findings
from engine.language.expressions import ExpressionSyntaxError
from engine.language.templates import split
from engine.locations import Document, Node, Path

#: `{{ name }}`, as of many template languages.
_BRACES: Final = re.compile(r"\{\{\s*([$A-Za-z_][^{}]*?)\s*\}\}")
#: What only a complete template of another language has: one of Jinja or Go, which is passed on as text.
_OTHER_TEMPLATES: Final = ("{%", "{{-", "{{.", "{{ .")
#: `$request.query.page`, as in an expression.
_VARIABLE: Final = re.compile(
    r"\$(?:request|upstream|env|is_set|vars|calls|state)(?:\.[A-Za-z_]\w*|\.\"[^\"]*\")+"
)
#: `request.query.page`: a variable and a field of it, as the whole text.
_WITHOUT_SIGN: Final = re.compile(
    r"(?:request\.(?:method|path|params|query|headers|body)|(?:upstream|response)\.(?:status|headers|body))"
    r"(?:\.[A-Za-z_]\w*|\[\w*\])*"
)
#: `$NAME` and `vars.name`, if the file declares the name.
_DECLARED: Final = re.compile(r"\$([A-Z][A-Z0-9_]*)\b")
_FIELD: Final = re.compile(r"(env|vars)\.([A-Za-z_]\w*)")

#: Parts of a file whose text is never an expression.
_PLAIN: Final = ("name", "description", "include", "env", "vars")
_SCHEMAS: Final = ("schema", "response_schema")


def warn_of_literal_texts(document: Document, findings: Findings) -> None:
    """Warn of literal text that looks like an expression."""
    for path in document.value_spans:
        value = _value(document, path)
        if isinstance(value, str) and not _is_plain(path):
            node = Node(document, path, value)
            for start, end, hint in _suspicious(node):
                message = f"this is text, not an expression: '{value[start:end]}'"
                findings.warning("text-as-expression", message, node.span_at(start, end - start), hint)


def _value(document: Document, path: Path) -> object:
    value = document.data
    for step in path:
        value = value[step]
    return value


def _is_plain(path: Path) -> bool:
    """Whether the text at a path is never an expression."""
    is_route = path[:1] == ("routes",)
    return path[:1] in [(key,) for key in _PLAIN] or (
        is_route and (path[2:] == ("summary",) or any(key in path for key in _SCHEMAS))
    )


def _suspicious(node: Node) -> Iterator[tuple[int, int, str]]:
    """Parts of a string's literal text that look like expressions, each with what to write instead."""
    try:
        parts = split(node.value)
    except ExpressionSyntaxError:
        return
    is_whole = len(parts) == 1
    for part in parts:
        # An escaped `$${` is shorter than in the file, and text that has one was written with care.
        if not part.is_expression and node.value[part.offset :].startswith(part.text):
            for start, end, hint in _found(part.text, is_whole, node.document.data):
                yield part.offset + start, part.offset + end, hint


def _found(text: str, is_whole: bool, data: Mapping[str, object]) -> Iterator[tuple[int, int, str]]:
    is_passed_on = any(mark in text for mark in _OTHER_TEMPLATES)
    for match in () if is_passed_on else _BRACES.finditer(text):
        yield *match.span(), f"write '${{ {_with_sign(match.group(1))} }}'"
    for match in _VARIABLE.finditer(text):
        yield *match.span(), f"write '${{ {match.group()} }}'"
    for match in _DECLARED.finditer(text):
        if match.group(1) in _names(data, "env"):
            yield *match.span(), f"write '${{ $env.{match.group(1)} }}'"
    if is_whole and (_WITHOUT_SIGN.fullmatch(text) or _is_declared(text, data)):
        yield 0, len(text), f"write '${{ {_with_sign(text)} }}'"


def _is_declared(text: str, data: Mapping[str, object]) -> bool:
    match = _FIELD.fullmatch(text)
    return match is not None and match.group(2) in _names(data, match.group(1))


def _with_sign(text: str) -> str:
    """A path with the name that a variable has here: `response.body` is `$upstream.body`."""
    path = text.lstrip("$.")
    path = path.replace("response.", "upstream.", 1) if path.startswith("response.") else path
    return f"${path}" if _WITHOUT_SIGN.fullmatch(path) or _FIELD.fullmatch(path) else path


def _names(data: Mapping[str, object], section: str) -> Mapping[str, object]:
    """The names that the file declares in a section."""
    names = data.get(section)
    return names if isinstance(names, dict) else {}
