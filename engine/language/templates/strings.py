"""Strings of templates: literal text and `${ … }`; values without expressions and directives.

Contract: `split` returns every part with its offset in the string; quotes and braces inside an expression do
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
    """A part of a string, literal text or an expression, and its offset in the string."""

    text: str
    offset: int
    is_expression: bool


def split(value: str) -> list[Part]:
    """Split a string into literal text and `${ … }` expressions; `$${` is an escaped `${`.

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
    """The offset of the `}` that closes the `${` before `start`; braces and quotes must be balanced."""
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
    """Whether a template always has the same value, because it has no expressions and no directives."""
    if isinstance(value, str):
        return "${" not in value
    if isinstance(value, dict):
        return all(_is_plain(key) and is_static(item) for key, item in value.items())
    return not isinstance(value, list) or all(is_static(item) for item in value)


def _is_plain(key: str) -> bool:
    """Whether a key is written to the output unchanged, without a condition."""
    return not key.startswith("$") and not key.endswith("?")


def single_expression(value: Any) -> str | None:
    """The expression of a string that is one `${ … }` and nothing else, else None."""
    if not isinstance(value, str):
        return None
    try:
        parts = split(value)
    except ExpressionSyntaxError:
        return None
    return parts[0].text if len(parts) == 1 and parts[0].is_expression else None
