"""Hints for syntax errors: the JMESPath form of operators and literals of other languages.

Contract: a hint depends only on the text around the error. Must not know JMESPath's grammar.
"""

from __future__ import annotations

import re
from typing import Final

#: The word before an error, and the characters of the error itself.
_WORD_BEFORE: Final = re.compile(r"([A-Za-z_]\w*)\s*\Z")
_UNEXPECTED: Final = re.compile(r"-?\d+(?:\.\d+)?|[A-Za-z_]\w*|===?|\$\.|[^\w\s]")
#: A name with a hyphen, around its first hyphen.
_HYPHENATED: Final = re.compile(r"([A-Za-z_]\w*)\Z")
_REST_OF_NAME: Final = re.compile(r"(?:-[A-Za-z0-9_]+)+")

#: The JMESPath form of an operator or a keyword, by its text.
_OPERATORS: Final = {
    "=": "'==' compares two values",
    "/": "write 'divide(a, b)'",
    "+": "write 'add(a, b)' for numbers, or join text as '${ a }${ b }'",
    "-": "write 'subtract(a, b)'; a name with '-' is quoted: 'x.\"a-b\"'",
    "*": "write 'multiply(a, b)'",
    "%": "write 'modulo(a, b)'",
    "?": "write 'if(condition, a, b)'",
    "??": "write 'default(a, b)'",
    "and": "write '&&'",
    "or": "write '||'",
    "not": "write '!'",
    "in": "write 'contains(list, value)'",
    "is": "'==' compares two values, and null is `null` in backticks",
    "if": "write 'if(condition, a, b)'",
    "else": "write 'if(condition, a, b)'",
    "$.": "the payload is '@'; write its fields without '$.'",
}
#: What was meant by `[`, by the character after it.
_IN_BRACKETS: Final = {
    "'": "write the name of a field as '.name' or '.\"name\"'",
    '"': "write the name of a field as '.name' or '.\"name\"'",
    "$": "write 'lookup(object, key)' for a computed key",
}


def syntax_hint(text: str, offset: int) -> str | None:
    """A hint for a syntax error at an offset of an expression's text, or None."""
    before, found = text[:offset], _UNEXPECTED.match(text, offset)
    if before.strip()[:1] == "{" and ":" not in before:
        return "write '${ … }', with one brace"
    unexpected = found.group() if found else ""
    if unexpected[:1] == "-" and (name := _hyphenated(before, text, offset)):
        return f"a name with '-' is quoted: \"{name}\""
    if unexpected[-1:].isdigit():
        return f"a number is written in backticks: `{unexpected}`"
    if before.rstrip().endswith("["):
        return _IN_BRACKETS.get(unexpected)
    if "?" in (unexpected, before[-1:]):
        return _OPERATORS["??" if "??" in text[max(offset - 1, 0) : offset + 2] else "?"]
    word = _WORD_BEFORE.search(before)
    return _OPERATORS.get(unexpected) or (_OPERATORS.get(word.group(1)) if word else None)


def _hyphenated(before: str, text: str, offset: int) -> str | None:
    """The name that an unquoted hyphen is in, without whitespace around the hyphen."""
    start, rest = _HYPHENATED.search(before), _REST_OF_NAME.match(text, offset)
    return start.group(1) + rest.group() if start and rest else None
