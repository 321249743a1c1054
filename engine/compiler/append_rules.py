"""Recognizes rules that append to the state. Their time must not grow with the size of the state.

Contract: a `set` whose value is the state's current value with something appended is recognized by its
documented forms; every other value is evaluated as a normal template. Both produce the same values. Must not
know how values are stored at run time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from engine.language.expressions import ExpressionSyntaxError, Tree, parse
from engine.language.spec import RuleSpec
from engine.language.templates import Part, split
from engine.locations import Node

#: Functions that append to their first argument.
_FUNCTIONS: Final = ("concat", "merge", "merge_deltas")


@dataclass(frozen=True, slots=True)
class Growth:
    """What a rule appends to the state, and how.

    Attributes:
        form: `flat` for `[$state.x, …][]`, `entries` for `$concat`, `text` for text around expressions, or
            the name of a function.
        trees: the appended expressions.
        nodes: the appended templates.
        parts: the appended parts of a text.
        offset: the offset of the expression in the node.
    """

    form: str
    trees: tuple[Tree, ...] = ()
    nodes: tuple[Node, ...] = ()
    parts: tuple[Part, ...] = ()
    offset: int = 0

    @property
    def keeps_parts(self) -> bool:
        """Whether only the outer value changes, never the values inside it."""
        return self.form in ("flat", "entries", "merge")


def growing_names(rules: Iterable[RuleSpec]) -> dict[str, Growth]:
    """The names of the state that rules append to, each with one of its growths."""
    return {name: growth for rule in rules for name, growth in _growing(rule)}


def _growing(rule: RuleSpec) -> Iterator[tuple[str, Growth]]:
    for name, node in rule.set.items() if rule.set is not None else ():
        growth = growth_of(name, node)
        if growth is not None:
            yield name, growth
    for inner in rule.rules:
        yield from _growing(inner)


def growth_of(name: str, node: Node) -> Growth | None:
    """How the template of a `set` appends to the state's current value; None for any other template."""
    if isinstance(node.value, dict):
        return _entries(name, node)
    if not isinstance(node.value, str):
        return None
    try:
        parts = split(node.value)
        if len(parts) > 1:
            return _text(name, parts)
        return _expression(name, parts[0]) if parts[0].is_expression else None
    except ExpressionSyntaxError:
        return None  # compiling the template reports it


def _entries(name: str, node: Node) -> Growth | None:
    concat = node.get("$concat")
    if len(node.value) > 1 or concat is None or not isinstance(concat.value, list) or not concat.value:
        return None
    first, *others = concat.elements()
    return Growth("entries", nodes=tuple(others)) if _is_expression_of(name, first) else None


def _is_expression_of(name: str, node: Node) -> bool:
    if not isinstance(node.value, str):
        return False
    try:
        parts = split(node.value)
        return len(parts) == 1 and parts[0].is_expression and _is_own(name, parse(parts[0].text))
    except ExpressionSyntaxError:
        return False


def _text(name: str, parts: list[Part]) -> Growth | None:
    first, *others = parts
    is_own = first.is_expression and _is_own(name, parse(first.text))
    return Growth("text", parts=tuple(others)) if is_own else None


def _expression(name: str, part: Part) -> Growth | None:
    tree = parse(part.text)
    if tree["type"] == "function_expression" and tree["value"] in _FUNCTIONS:
        form, children = tree["value"], tree["children"]
    else:
        form, children = "flat", _flattened(tree)
    if len(children) < 2 or (form == "merge_deltas" and len(children) != 2) or not _is_own(name, children[0]):
        return None
    return Growth(form, trees=tuple(children[1:]), offset=part.offset)


def _flattened(tree: Tree) -> list[Tree]:
    """The items of `[ … ][]`; empty for any other expression."""
    if tree["type"] != "projection" or tree["children"][1]["type"] != "identity":
        return []
    flatten = tree["children"][0]
    if flatten["type"] != "flatten" or flatten["children"][0]["type"] != "multi_select_list":
        return []
    items: list[Tree] = flatten["children"][0]["children"]
    return items


def _is_own(name: str, tree: Tree) -> bool:
    """Whether an expression is `$state.name`."""
    if tree["type"] != "subexpression" or len(tree["children"]) != 2:
        return False
    variable, field = tree["children"]
    return bool(
        (variable["type"], variable["value"]) == ("variable", "state")
        and (field["type"], field.get("value")) == ("field", name)
    )
