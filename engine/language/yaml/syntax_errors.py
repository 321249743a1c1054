"""Text that is no YAML: where the mistake is most often, and what.

Contract: knows the words in which YAML's parser tells its problems, but not the parser; words that are not
known here lead to no hint, never to a failure.
"""

from __future__ import annotations

import re
from typing import Final

#: Characters that no YAML text holds (YAML 1.2.2, section 5.1).
UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: What the parser was in when it met the problem, where the mistake is at its beginning: it never ends.
UNENDED: Final = frozenset(
    {
        "while scanning a quoted scalar",
        "while scanning a simple key",
        "while parsing a flow sequence",
        "while parsing a flow mapping",
    }
)


def is_too_deep(problem: str) -> bool:
    """Whether the parser refused the nesting itself: libyaml does since 0.2.6, beyond 1,000 levels."""
    return "maximum nesting depth" in problem


def hint(problem: str, context: str, rest: str) -> str | None:
    """What is most often behind a problem; `rest` is the line from its place on."""
    if "tab character" in problem or rest.startswith("\t"):
        return "indent with spaces, not with tabs"
    if "while parsing a flow" in context and rest.startswith("{") and "did not find expected ','" in problem:
        return 'inside { } and [ ] an expression is quoted: "${ … }"'
    if "mapping values are not allowed" in problem:
        return "text with ': ' in it is quoted"
    if "cannot start any token" in problem:
        return f"text that begins with '{rest[:1]}' is quoted"
    return None
