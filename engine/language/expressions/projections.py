"""The forms that loop over many values: `[*]`, `*`, `[? … ]` and `[]`.

Contract: a projection of a value that is not a list, or not an object, is null; null results are omitted.
A list of the items of another list has its origin; a loop over a list reads the presence of its items.
Must not know paths, logic or calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.language.codegen import Atom
from engine.language.expressions.base import BaseEmitter, Form
from engine.language.expressions.conditions import is_kind, truth
from engine.language.expressions.parser import Tree
from engine.language.uses import ITEM, Constructed, Origin, VariableOrigin

#: Nested loops in one function; Python allows 20 nested blocks, and templates add some around these.
_MAX_LOOPS: Final = 12


def _projection(emitter: BaseEmitter, tree: Tree) -> Atom:
    base, right = tree["children"]
    return _project(emitter, emitter.emit(base), "array", right)


def _value_projection(emitter: BaseEmitter, tree: Tree) -> Atom:
    base, right = tree["children"]
    return _project(emitter, emitter.used(base), "object", right)


def _filter_projection(emitter: BaseEmitter, tree: Tree) -> Atom:
    base, right, condition = tree["children"]
    return _project(emitter, emitter.emit(base), "array", right, condition)


def _project(emitter: BaseEmitter, base: Atom, kind: str, right: Tree, condition: Tree | None = None) -> Atom:
    writer, result = emitter.writer, emitter.writer.fresh()
    writer.line(f"{result} = None")
    with writer.block(f"if {is_kind(base, kind)}"):
        writer.line(f"{result} = []")
        item = Atom(writer.fresh("v"), origin=base.item if kind == "array" else None, loop=base.loop)
        writer.use_presence(item)
        is_bounded = writer.is_bounded(base)
        with writer.loop(f"for {item.source} in {_items(base, kind)}", f"len({base.source})"):
            item = writer.item(item) if is_bounded else item
            if condition is not None:
                _skip_unless(emitter, item, condition)
            origin = _collect(emitter, item, right, result)
    return writer.item(Atom(result, origin=origin))


def _skip_unless(emitter: BaseEmitter, item: Atom, condition: Tree) -> None:
    held = emitter.under(item, condition)
    emitter.writer.use_truth(held)
    emitter.writer.line(f"if not ({truth(held)}): continue")


def _collect(emitter: BaseEmitter, item: Atom, right: Tree, result: str) -> Origin | None:
    """Write code that appends the value of an item; return the origin of the list of these values."""
    value = _item_value(emitter, item, right)
    emitter.writer.embed(value)
    test = f"if {value.source} is not None: " if value.kind == "any" else ""
    if value.kind != "null":
        emitter.writer.line(f"{test}{result}.append({value.source})")
    path = value.variable
    if path is not None and path[-1] == ITEM:
        return VariableOrigin(path[:-1])
    return None if value.origin is None else Constructed(items=[value.origin])


def _item_value(emitter: BaseEmitter, item: Atom, right: Tree) -> Atom:
    """Write the value of an item, in a nested function if loops are nested deeper than Python allows."""
    if emitter.writer.loops < _MAX_LOOPS:
        return emitter.under(item, right)
    emitter.writer.use(item)
    return emitter.writer.let(f"{emitter.nested(right)}({item.source})")


def _flatten(emitter: BaseEmitter, tree: Tree) -> Atom:
    base = emitter.emit(tree["children"][0])
    writer, result, item = emitter.writer, emitter.writer.fresh(), emitter.writer.fresh("v")
    writer.line(f"{result} = None")
    with writer.block(f"if {is_kind(base, 'array')}"):
        writer.line(f"{result} = []")
        with writer.loop(f"for {item} in {_items(base, 'array')}", f"len({base.source})"):
            with writer.block(f"if type({item}) is list"):
                writer.line(f"x.steps -= len({item})")
                writer.line("if x.steps < 0: raise_limit_error(x)")
                writer.line(f"{result}.extend({item})")
            writer.line(f"else: {result}.append({item})")
    origin = None if base.origin is None else base.origin.flat()
    return Atom(result, origin=origin, loop=base.loop)


def _items(atom: Atom, kind: str) -> str:
    """Python source of the values of a projection's loop; of an empty tuple if `is_kind` is always false."""
    if atom.kind not in ("any", kind):
        return "()"
    return atom.source if kind == "array" else f"{atom.source}.values()"


FORMS: Final[Mapping[str, Form]] = {
    "projection": _projection,
    "value_projection": _value_projection,
    "filter_projection": _filter_projection,
    "flatten": _flatten,
}
