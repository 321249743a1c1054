"""The forms that create a value: literals, `[ … ]`, `{ … }`, `&&`, `||`, `!` and comparisons.

Contract: `&&` and `||` evaluate their right side only if it decides the result; a list or an object created
from a null payload is null.
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
from engine.language.expressions.mistakes import report_comparison, report_null_container
from engine.language.expressions.parser import Tree
from engine.language.uses import Constructed, either


def _literal(emitter: BaseEmitter, tree: Tree) -> Atom:
    return emitter.writer.constant(tree["value"])


def _multi_select_list(emitter: BaseEmitter, tree: Tree) -> Atom:
    items: list[Atom] = []
    made = Constructed()

    def build() -> str:
        items.extend(_placed(emitter, child) for child in tree["children"])
        for item in items:
            made.add_item(item.origin)
        return "[" + ", ".join(item.source for item in items) + "]"

    atom = _unless_null(emitter, tree, build, "array", made)
    is_constant = all(item.is_constant for item in items)
    return replace(atom, elements=tuple(item.constant for item in items) if is_constant else None)


def _multi_select_dict(emitter: BaseEmitter, tree: Tree) -> Atom:
    made = Constructed()

    def build() -> str:
        fields = [(child["value"], _placed(emitter, child["children"][0])) for child in tree["children"]]
        made.replace(key for key, _ in fields)
        for key, value in fields:
            made.add_field(key, value.origin)
            emitter.writer.weight += len(key) + 4
        return "{" + ", ".join(f"{key!r}: {value.source}" for key, value in fields) + "}"

    return _unless_null(emitter, tree, build, "object", made)


def _placed(emitter: BaseEmitter, tree: Tree) -> Atom:
    """Write a value that is put into a container."""
    atom = emitter.emit(tree)
    emitter.writer.embed(atom)
    return atom


def _unless_null(
    emitter: BaseEmitter, tree: Tree, build: Callable[[], str], kind: str, made: Constructed
) -> Atom:
    """Write a container built from the payload; null if the payload is null."""
    payload, writer = emitter.payload, emitter.writer
    report_null_container(emitter, payload, kind, tree)
    if payload.kind not in ("any", "null"):
        return writer.item(writer.let(build(), kind, made))
    writer.use_presence(payload)
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
    return replace(result, origin=either(first.origin, second.origin), usual=first.types)


def _and_expression(emitter: BaseEmitter, tree: Tree) -> Atom:
    first = emitter.tested(tree["children"][0])
    result, second = _chosen(emitter, tree, "if {}", first)
    # The left value is the result only if it is false, and then it contains nothing.
    return replace(result, origin=either(None, second.origin))


def _chosen(emitter: BaseEmitter, tree: Tree, header: str, first: Atom) -> tuple[Atom, Atom]:
    """Write the choice of `first`, the left value, or of the right one if `header` is true of `first`.

    Returns the result and the right value.
    """
    left, right = tree["children"]
    result = emitter.own(first, left)
    with emitter.writer.block(header.format(truth(first))):
        second = emitter.emit(right)
        emitter.writer.line(f"{result} = {second.source}")
    kind = first.kind if first.kind == second.kind else "any"
    return emitter.writer.item(Atom(result, kind), first, second), second


def _not_expression(emitter: BaseEmitter, tree: Tree) -> Atom:
    value = emitter.emit_condition(tree["children"][0])
    return emitter.writer.let(f"not ({truth(value)})", "boolean")


def misplaced_not(emitter: BaseEmitter, tree: Tree) -> Atom | None:
    """Warn about a path after `!`: `!a.b` is `(!a).b`, a field of true or false, and so null.

    With explicit parentheses there is no warning.
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
    message = "'!' binds more tightly than the path after it, so this is always null"
    emitter.findings.warning("misplaced-not", message, emitter.span(tree, end - start), f"write '!({path})'")
    return NULL


def _comparator(emitter: BaseEmitter, tree: Tree) -> Atom:
    left, right = (emitter.used(child) for child in tree["children"])
    report_comparison(emitter, tree, left, right)
    test, kind = _COMPARISONS[tree["value"]]
    return emitter.writer.let(test(emitter.writer, left, right), kind)


def _order(name: str, operator: str, is_swapped: bool = False) -> Callable[[Writer, Atom, Atom], str]:
    """A comparison by a function of two atoms, swapped for the opposite order, or by an operator if the right
    one is a number known at load."""

    def test(writer: Writer, left: Atom, right: Atom) -> str:
        if right.is_constant and right.kind == "number" and not left.is_constant:
            return ordered_with(left.source, operator, right)
        return comparison(name, writer, *((right, left) if is_swapped else (left, right)))

    return test


#: Forms whose first child can be a `!` without parentheses.
_PATHS: Final = frozenset(("subexpression", "value_projection", "projection", "filter_projection"))

#: Each comparison as Python source of two atoms, and its type; the order of values of different types is
#: null.
_COMPARISONS: Final[Mapping[str, tuple[Callable[[Writer, Atom, Atom], str], str]]] = {
    "eq": (equality, "boolean"),
    "ne": (lambda writer, left, right: f"not ({equality(writer, left, right)})", "boolean"),
    "lt": (_order("less", "<"), "any"),
    "lte": (_order("less_equal", "<="), "any"),
    "gt": (_order("less", ">", is_swapped=True), "any"),
    "gte": (_order("less_equal", ">=", is_swapped=True), "any"),
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
