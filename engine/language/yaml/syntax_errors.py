"""Hints about the most common causes of invalid YAML, and their locations.

Contract: knows the messages of the YAML parser, but not the parser; an unknown message has no hint and is not
an error.
"""

from __future__ import annotations

import re
from typing import Final

#: Characters that are not allowed in YAML (YAML 1.2.2, section 5.1).
UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: Contexts of a problem in which the mistake is at the start of the context, which is not terminated.
UNENDED: Final = frozenset(
    {
        "while scanning a quoted scalar",
        "while scanning a simple key",
        "while parsing a flow sequence",
        "while parsing a flow mapping",
    }
)


def is_too_deep(problem: str) -> bool:
    """Whether the parser rejected the nesting: libyaml does since 0.2.6, beyond 1,000 levels."""
    return "maximum nesting depth" in problem


def hint(problem: str, context: str, rest: str) -> str | None:
    """The most common cause of a problem, or None; `rest` is the line from the problem on."""
    if "tab character" in problem or rest.startswith("\t"):
        return "indent with spaces, not with tabs"
    if "while parsing a flow" in context and rest.startswith("{") and "did not find expected ','" in problem:
        return 'quote expressions inside { } and [ ]: "${ … }"'
    if "mapping values are not allowed" in problem:
        return "quote text that contains ': '"
    if "cannot start any token" in problem:
        return f"quote text that begins with '{rest[:1]}'"
    return None
