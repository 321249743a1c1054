"""Alternatives that are never reached, because an earlier one always applies."""

from __future__ import annotations

from collections.abc import Iterable

from engine.diagnostics import Findings
from engine.locations import Node

_HINT = "put it first, or give the earlier one a 'when'"


def warn_of_unreachable(
    code: str, alternatives: Iterable[tuple[Node, bool, bool]], findings: Findings
) -> None:
    """Warn of the first alternative after one that always applies, unless a condition may have an error.

    Args:
        code: the code of the finding, whose last word names the alternatives: `unreachable-case`.
        alternatives: each node, whether it always applies, and whether it can be reached all the same.
    """
    if findings.has_errors:
        return
    is_decided = False
    for node, is_certain, is_exempt in alternatives:
        if is_decided and not is_exempt:
            message = f"this {code.rpartition('-')[2]} is unreachable: an earlier one always applies"
            findings.warning(code, message, node.key_span, _HINT)
            return
        is_decided = is_decided or is_certain


def is_unconditional(when: Node | None) -> bool:
    """Whether a `when` always holds."""
    return when is None or when.value is True
