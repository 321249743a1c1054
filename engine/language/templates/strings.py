"""Strings of templates: literal text and `${ … }`, and which values hold neither that nor a directive.

Contract: `split` gives every part with its place in the string; quotes and braces inside an expression do
not end it.
Must not know what an expression means, nor which directives there are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from engine.language.expressions import QUOTED, ExpressionSyntaxError

_OPENING = re.compile(r"\$?\$\{")
_INSIDE = re.compile(rf"{QUOTED}|[{{}}'\"`]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a string: literal text, or an expression and where it begins in the string."""

    text: str
    offset: int
    is_expression: bool


def split(value: str) -> list[Part]:
    """Cut a string into literal text and `${ … }` expressions; `$${` stands for a literal `${`.

    Raises:
        ExpressionSyntaxError: a `${` is not closed.
    """
    parts: list[Part] = []
    literal, position = "", 0
    while match := _OPENING.search(value, position):
        literal += value[position : match.start()]
        if match.group() == "$${":
            literal, position = literal + "${", match.end()
            continue
        end = _closing(value, match.end())
        if literal:
            parts.append(Part(literal, position, False))
        parts.append(Part(value[match.end() : end], match.end(), True))
        literal, position = "", end + 1
    literal += value[position:]
    if literal or not parts:
        parts.append(Part(literal, position, False))
    return parts


def _closing(value: str, start: int) -> int:
    """The place of the `}` that closes the `${` before `start`; braces and quotes inside must pair."""
    depth = 0
    for match in _INSIDE.finditer(value, start):
        if match.group() in ("'", '"', "`"):
            raise ExpressionSyntaxError(f"{match.group()} is not closed", match.start())
        if match.group() == "{":
            depth += 1
        elif match.group() == "}":
            if depth == 0:
                return match.start()
            depth -= 1
    raise ExpressionSyntaxError("'${' is not closed by '}'", start - 2)


def is_static(value: Any) -> bool:
    """Whether a template gives the same value always: no expression and no directive in it."""
    if isinstance(value, str):
        return "${" not in value
    if isinstance(value, dict):
        return all(not key.startswith("$") and is_static(item) for key, item in value.items())
    return not isinstance(value, list) or all(is_static(item) for item in value)


def single_expression(value: Any) -> str | None:
    """The expression of a string that is one `${ … }` and nothing else."""
    if not isinstance(value, str):
        return None
    try:
        parts = split(value)
    except ExpressionSyntaxError:
        return None
    return parts[0].text if len(parts) == 1 and parts[0].is_expression else None
