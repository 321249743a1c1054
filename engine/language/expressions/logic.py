"""The forms that make a value: literals, `[ … ]`, `{ … }`, `&&`, `||`, `!` and comparisons.

Contract: `&&` and `||` evaluate their right side only where it decides; a list or an object made from a
payload that is null is null.
Must not know paths, projections or calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from engine.language.codegen import NULL, Atom, Writer
from engine.language.expressions.base import BaseEmitter, Form
from engine.language.expressions.choices import known_choice
from engine.language.expressions.conditions import comparison, equality, ordered_with, truth
from engine.language.expressions.parser import Tree
from engine.language.uses import Made, either


def _literal(emitter: BaseEmitter, tree: Tree) -> Atom:
    return emitter.writer.constant(tree["value"])


def _multi_select_list(emitter: BaseEmitter, tree: Tree) -> Atom:
    items: list[Atom] = []
    made = Made()

    def build() -> str:
        items.extend(_placed(emitter, child) for child in tree["children"])
        for item in items:
            made.add_item(item.origin)
        return "[" + ", ".join(item.source for item in items) + "]"

    atom = _unless_null(emitter, build, "array", made)
    is_constant = all(item.is_constant for item in items)
    return replace(atom, elements=tuple(item.constant for item in items) if is_constant else None)


def _multi_select_dict(emitter: BaseEmitter, tree: Tree) -> Atom:
    made = Made()

    def build() -> str:
        fields = [(child["value"], _placed(emitter, child["children"][0])) for child in tree["children"]]
        for key, value in fields:
            made.add_field(key, value.origin)
            emitter.writer.weight += len(key) + 4
        return "{" + ", ".join(f"{key!r}: {value.source}" for key, value in fields) + "}"

    return _unless_null(emitter, build, "object", made)


def _placed(emitter: BaseEmitter, tree: Tree) -> Atom:
    """A value that becomes a part of a container."""
    atom = emitter.emit(tree)
    emitter.writer.place(atom)
    return atom


def _unless_null(emitter: BaseEmitter, build: Callable[[], str], kind: str, made: Made) -> Atom:
    """A container built from the payload; null where the payload is null."""
    payload, writer = emitter.payload, emitter.writer
    if payload.kind not in ("any", "null"):
        return writer.item(writer.let(build(), kind, made))
    writer.find(payload)
    result = writer.fresh()
    writer.line(f"{result} = None")
    with writer.block(f"if {payload.source} is not None"):
        writer.line(f"{result} = {build()}")
    return writer.item(Atom(result, origin=made))


def _or_expression(emitter: BaseEmitter, tree: Tree) -> Atom:
    known = known_choice(emitter, tree)
    if known is not None:
        return known
    left, right = tree["children"]
    checked = emitter.unless(left, right, "if not ({truth})")
    if checked is not None:
        return checked
    first = emitter.tested(left)
    result, second = _chosen(emitter, tree, "if not ({})", first)
    return replace(result, origin=either(first.origin, second.origin))


def _and_expression(emitter: BaseEmitter, tree: Tree) -> Atom:
    first = emitter.tested(tree["children"][0])
    result, second = _chosen(emitter, tree, "if {}", first)
    # The left value is the result only where it is false, and then it holds nothing.
    return replace(result, origin=either(None, second.origin))


def _chosen(emitter: BaseEmitter, tree: Tree, header: str, first: Atom) -> tuple[Atom, Atom]:
    """The left value, `first`, or the right one where `header` holds of the left's truth; and the right."""
    left, right = tree["children"]
    result = emitter.own(first, left)
    with emitter.writer.block(header.format(truth(first))):
        second = emitter.emit(right)
        emitter.writer.line(f"{result} = {second.source}")
    kind = first.kind if first.kind == second.kind else "any"
    return emitter.writer.item(Atom(result, kind), first, second), second


def _not_expression(emitter: BaseEmitter, tree: Tree) -> Atom:
    value = emitter.asked(tree["children"][0])
    return emitter.writer.let(f"not ({truth(value)})", "boolean")


def misplaced_not(emitter: BaseEmitter, tree: Tree) -> Atom | None:
    """A warning where a path follows `!`: `!a.b` is `(!a).b`, a field of true or false, and so null.

    Who writes the parentheses knows what they do.
    """
    if tree["type"] not in _PATHS:
        return None
    first = tree["children"][0]
    if first["type"] == "flatten":
        first = first["children"][0]
    if first["type"] != "not_expression" or first.get("grouped"):
        return None
    start, end = tree["start"], tree["end"]
    path = emitter.node.value[emitter.offset + start + 1 : emitter.offset + end].strip()
    message = "'!' applies before the rest of the path does, so this is always null"
    emitter.findings.warning("misplaced-not", message, emitter.span(tree, end - start), f"write '!({path})'")
    return NULL


def _comparator(emitter: BaseEmitter, tree: Tree) -> Atom:
    left, right = (emitter.used(child) for child in tree["children"])
    test, kind = _COMPARISONS[tree["value"]]
    return emitter.writer.let(test(emitter.writer, left, right), kind)


def _order(name: str, operator: str, is_turned: bool = False) -> Callable[[Writer, Atom, Atom], str]:
    """A comparison by a function of two atoms, turned for the opposite order, or by the operator with
    a number that is known at load."""

    def test(writer: Writer, left: Atom, right: Atom) -> str:
        if right.is_constant and right.kind == "number" and not left.is_constant:
            return ordered_with(left.source, operator, right)
        return comparison(name, writer, *((right, left) if is_turned else (left, right)))

    return test


#: Forms whose first child can be a `!` without parentheses around it.
_PATHS: Final = frozenset(("subexpression", "value_projection", "projection", "filter_projection"))

#: Each comparison as Python source of two atoms, and its type; an order of unlike types is null.
_COMPARISONS: Final[Mapping[str, tuple[Callable[[Writer, Atom, Atom], str], str]]] = {
    "eq": (equality, "boolean"),
    "ne": (lambda writer, left, right: f"not ({equality(writer, left, right)})", "boolean"),
    "lt": (_order("less", "<"), "any"),
    "lte": (_order("less_equal", "<="), "any"),
    "gt": (_order("less", ">", is_turned=True), "any"),
    "gte": (_order("less_equal", ">=", is_turned=True), "any"),
}

FORMS: Final[Mapping[str, Form]] = {
    "literal": _literal,
    "multi_select_list": _multi_select_list,
    "multi_select_dict": _multi_select_dict,
    "or_expression": _or_expression,
    "and_expression": _and_expression,
    "not_expression": _not_expression,
    "comparator": _comparator,
}
