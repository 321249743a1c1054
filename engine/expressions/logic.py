"""The forms that make a value: literals, `[ … ]`, `{ … }`, `&&`, `||`, `!` and comparisons.

Contract: `&&` and `||` evaluate their right side only where it decides; a list or an object made from a
payload that is null is null.
Must not know paths, projections or calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from engine.codegen import Atom, Writer
from engine.expressions.base import BaseEmitter, Form
from engine.expressions.conditions import comparison, equality, truth
from engine.expressions.parser import Tree


def _literal(emitter: BaseEmitter, tree: Tree) -> Atom:
    return emitter.writer.constant(tree["value"])


def _multi_select_list(emitter: BaseEmitter, tree: Tree) -> Atom:
    def items() -> str:
        return "[" + ", ".join(_placed(emitter, child).source for child in tree["children"]) + "]"

    return _unless_null(emitter, items, "array")


def _multi_select_dict(emitter: BaseEmitter, tree: Tree) -> Atom:
    def pairs() -> str:
        children = [(child["value"], _placed(emitter, child["children"][0])) for child in tree["children"]]
        emitter.writer.weight += sum(len(key) + 4 for key, _ in children)
        return "{" + ", ".join(f"{key!r}: {value.source}" for key, value in children) + "}"

    return _unless_null(emitter, pairs, "object")


def _placed(emitter: BaseEmitter, tree: Tree) -> Atom:
    """A value that becomes a part of a container."""
    atom = emitter.used(tree)
    emitter.writer.place(atom)
    return atom


def _unless_null(emitter: BaseEmitter, build: Callable[[], str], kind: str) -> Atom:
    """A container built from the payload; null where the payload is null."""
    payload, writer = emitter.scope.payload, emitter.writer
    if payload.kind not in ("any", "null"):
        return writer.item(writer.let(build(), kind))
    result = writer.fresh()
    writer.line(f"{result} = None")
    with writer.block(f"if {payload.source} is not None"):
        writer.line(f"{result} = {build()}")
    return writer.item(Atom(result))


def _or_expression(emitter: BaseEmitter, tree: Tree) -> Atom:
    left, right = tree["children"]
    checked = emitter.unless(left, right, "if not ({truth})")
    return checked or _either(emitter, tree, "if not ({})", emitter.used(left))


def _and_expression(emitter: BaseEmitter, tree: Tree) -> Atom:
    left = emitter.emit(tree["children"][0])
    emitter.writer.ask(left)
    return _either(emitter, tree, "if {}", left)


def _either(emitter: BaseEmitter, tree: Tree, header: str, first: Atom) -> Atom:
    """The left value, `first`; the right one, where `header` holds of the left one's truth."""
    left, right = tree["children"]
    result = emitter.own(first, left)
    with emitter.writer.block(header.format(truth(first))):
        second = emitter.used(right)
        emitter.writer.line(f"{result} = {second.source}")
    kind = first.kind if first.kind == second.kind else "any"
    return emitter.writer.item(Atom(result, kind), first, second)


def _not_expression(emitter: BaseEmitter, tree: Tree) -> Atom:
    value = emitter.asked(tree["children"][0])
    return emitter.writer.let(f"not ({truth(value)})", "boolean")


def _comparator(emitter: BaseEmitter, tree: Tree) -> Atom:
    left, right = (emitter.used(child) for child in tree["children"])
    test, kind = _COMPARISONS[tree["value"]]
    return emitter.writer.let(test(emitter.writer, left, right), kind)


def _order(name: str, is_turned: bool = False) -> Callable[[Writer, Atom, Atom], str]:
    """A comparison by a function of two atoms, which are turned for the opposite order."""

    def test(writer: Writer, left: Atom, right: Atom) -> str:
        return comparison(name, writer, *((right, left) if is_turned else (left, right)))

    return test


#: Each comparison as Python source of two atoms, and its type; an order of unlike types is null.
_COMPARISONS: Final[Mapping[str, tuple[Callable[[Writer, Atom, Atom], str], str]]] = {
    "eq": (equality, "boolean"),
    "ne": (lambda writer, left, right: f"not ({equality(writer, left, right)})", "boolean"),
    "lt": (_order("less"), "any"),
    "lte": (_order("less_equal"), "any"),
    "gt": (_order("less", is_turned=True), "any"),
    "gte": (_order("less_equal", is_turned=True), "any"),
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
