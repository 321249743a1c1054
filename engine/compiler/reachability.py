"""Alternatives that are never reached, because an earlier one always applies."""

from __future__ import annotations

from collections.abc import Iterable

from engine.compiler.written_keys import written_keys
from engine.diagnostics import Findings
from engine.language.spec import AttemptSpec, CallSpec, CaseSpec
from engine.locations import Node

_HINT = "put it first, or give the earlier one a 'when'"


def warn_of_unreachable(
    code: str, alternatives: Iterable[tuple[Node, bool, bool]], findings: Findings
) -> None:
    """Warn of the first alternative after one that always applies.

    Args:
        code: the code of the finding, whose last word names the alternatives: `unreachable-case`.
        alternatives: each node, whether it always applies, and whether it can be reached all the same.
    """
    is_decided = False
    for node, is_certain, is_exempt in alternatives:
        if is_decided and not is_exempt:
            message = f"this {code.rpartition('-')[2]} is unreachable: an earlier one always applies"
            findings.warning(code, message, node.key_span, _HINT)
            return
        is_decided = is_decided or is_certain


def is_unconditional(spec: AttemptSpec | CallSpec | CaseSpec) -> bool:
    """Whether an alternative has no condition, nor a key with an error that may be one."""
    if spec.when is not None:
        return spec.when.value is True
    return isinstance(spec.node.value, str) or set(written_keys(spec.node)) == set(spec.node.value)
