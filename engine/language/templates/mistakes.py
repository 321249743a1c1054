"""Templates that are valid, but cannot be meant as they are written.

Contract: findings only; no code depends on them. What is possible, if unlikely, is no finding.
Must not know how directives are written as code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.diagnostics import Findings
from engine.language.expressions import ExpressionSyntaxError, Tree, parse
from engine.language.templates.strings import is_static, split
from engine.locations import Node

#: Directives whose value is computed, and never text that is written as it is.
_COMPUTED: Final = ("$with", "$if", "$switch")
_EFFECTS: Final = ("fail", "drop")


def report_mistakes(node: Node, findings: Findings) -> None:
    """Report what the directives of one mapping cannot mean."""
    for key in _COMPUTED:
        value = node.value.get(key)
        if isinstance(value, str) and is_static(value):
            message = f"'{key}' takes an expression, and this is text"
            findings.warning("text-as-expression", message, node[key].span, f"write '${{ {value} }}'")
    if "$if" in node.value and isinstance(node.value.get("$let"), dict):
        _report_early_effects(node["$let"], node["$if"], findings)


def _report_early_effects(bindings: Node, condition: Node, findings: Findings) -> None:
    """Report effects in `$let`, unless the condition after it reads one of its names."""
    if any(variable in bindings.value for variable in _names(condition, "variable")):
        return
    for value in map(bindings.__getitem__, bindings.value):
        for effect in _names(value, "function_expression"):
            if effect in _EFFECTS:
                message = f"'$let' applies before '$if', so {effect}() has its effect in both cases"
                hint = "put the '$let' inside: { $if: …, $then: { $let: … } }"
                findings.warning("early-effect", message, value.span, hint)


def _names(node: Node, kind: str) -> Iterator[str]:
    """The names in all parts of a kind in the expressions of a string."""
    for tree in _trees(node):
        level = [tree]
        while level:
            yield from (part["value"] for part in level if part["type"] == kind)
            level = [child for part in level for child in part["children"] if isinstance(child, dict)]


def _trees(node: Node) -> Iterator[Tree]:
    """The expressions of a string; none of an invalid one, which has its own finding."""
    if not isinstance(node.value, str):
        return
    try:
        yield from [parse(part.text) for part in split(node.value) if part.is_expression]
    except ExpressionSyntaxError:
        return
