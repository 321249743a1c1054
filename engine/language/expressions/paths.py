"""The forms that select a part of a value: `@`, fields, indexes, slices, pipes, and `$variables`.

Contract: a path that the value does not have is null. The fields of a variable are resolved at load as far as
they are known; an unknown or withheld field is a finding.
Must not know projections, logic or calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from engine.diagnostics import suggestion
from engine.language.codegen import NULL, Atom, Writer
from engine.language.expressions.base import BaseEmitter, Form
from engine.language.expressions.choices import shared_choice
from engine.language.expressions.familiar_names import variable_hint
from engine.language.expressions.mistakes import report_absent, report_case
from engine.language.expressions.parser import Tree
from engine.language.expressions.scope import Record, Withheld
from engine.language.uses import Origin

#: Forms whose first child receives the payload, and whose other children receive its result.
_FIRST_SEES_PAYLOAD: Final = frozenset(
    (
        *("subexpression", "index_expression", "pipe", "flatten"),
        *("projection", "value_projection", "filter_projection"),
    )
)

#: How often the type of a value is tested before an object with its fields has a name.
_MOST_TESTS: Final = 2


def _current(emitter: BaseEmitter, tree: Tree) -> Atom:
    if "start" in tree:  # `@` itself, not a part of another form
        report_absent(emitter, emitter.payload, "", tree)
    return emitter.payload


def _field(emitter: BaseEmitter, tree: Tree) -> Atom:
    base, name = emitter.payload, tree["value"]
    report_absent(emitter, base, name, tree)
    if base.kind not in ("any", "object"):
        return NULL
    known = None if base.fields is None else base.fields.value(name)
    if known is not None:
        emitter.writer.refer(known)
        return known
    report_case(emitter, base, name, tree)
    path = f"{base.source}.{name}"
    source = "" if emitter.writer.recall(path) is not None else _read_field(emitter.writer, base, name)
    atom = _step(emitter, base, path, source, base.inside(name))
    return atom if base.common is None else replace(atom, types=base.common.types)


def _read_field(writer: Writer, base: Atom, name: str) -> str:
    """Python source that reads a field of a value, which may be no object.

    A read tests the type. The third one in a block names an object with the fields, for all that follow.
    """
    if base.kind == "object":
        return f"{base.source}.get({name!r})"
    path, is_object = f"fields of {base.source}", f"type({base.source}) is dict"
    fields = writer.recall(path)
    if fields is None and writer.count_read(base.source) > _MOST_TESTS:
        fields = writer.let(f"{base.source} if {is_object} else NO_FIELDS", origin=base.origin)
        writer.remember(path, fields)
    return (
        f"{base.source}.get({name!r}) if {is_object} else None"
        if fields is None
        else f"{fields.source}.get({name!r})"
    )


def _index(emitter: BaseEmitter, tree: Tree) -> Atom:
    base, index = emitter.payload, tree["value"]
    if base.kind not in ("any", "array"):
        return NULL
    bound = f"len({base.source}) > {index}" if index >= 0 else f"len({base.source}) >= {-index}"
    source = f"{base.source}[{index}] if type({base.source}) is list and {bound} else None"
    return _step(emitter, base, source, source, base.item)


def _step(emitter: BaseEmitter, base: Atom, path: str, source: str, origin: Origin | None) -> Atom:
    atom = emitter.writer.once(path, source, origin)
    emitter.writer.refer(atom)
    return replace(atom, loop=base.loop)


def _slice(emitter: BaseEmitter, tree: Tree) -> Atom:
    start, stop, step = tree["children"]
    if step == 0:
        return emitter.error("wrong-argument", "the step of a slice cannot be 0", tree)
    base = emitter.payload
    if base.kind not in ("any", "array"):
        return NULL
    source = f"{base.source}[{start}:{stop}:{step}] if type({base.source}) is list else None"
    return replace(emitter.writer.let(source, origin=base.origin), loop=base.loop)


# --- Sequences of steps ----------------------------------------------------------------------------------


def _subexpression(emitter: BaseEmitter, tree: Tree) -> Atom:
    first, *rest = tree["children"]
    if first["type"] == "variable":
        atom, rest = _variable_path(emitter, first, rest)
        emitter.release(atom, tree, rest)
        return _steps(emitter, atom, rest)
    return _steps(emitter, shared_choice(emitter, first), rest)


def _chain(emitter: BaseEmitter, tree: Tree) -> Atom:
    first, *rest = tree["children"]
    return _steps(emitter, emitter.emit(first), rest)


def _steps(emitter: BaseEmitter, atom: Atom, rest: list[Tree]) -> Atom:
    """Write each of `rest` with the previous value as its payload."""
    for child in rest:
        atom = emitter.under(atom, child)
    return atom


# --- Variables -------------------------------------------------------------------------------------------


def _variable(emitter: BaseEmitter, tree: Tree) -> Atom:
    return _variable_path(emitter, tree, [])[0]


def _variable_path(emitter: BaseEmitter, tree: Tree, rest: list[Tree]) -> tuple[Atom, list[Tree]]:
    """Resolve `$name.field…` as far as fields are known at load; return the atom and the remaining steps."""
    written = "$" + tree["value"]
    found = emitter.scope.variables.get(tree["value"])
    owner: Record | None = None
    while isinstance(found, Record) and rest and (split := _split_field(rest[0])) is not None:
        owner, (name, remainder) = found, split
        left = [] if remainder is None else [remainder]
        found, written, rest = found.fields.get(name), f"{written}.{name}", [*left, *rest[1:]]
    if found is None:
        return _unknown(emitter, written, owner, tree), []
    if isinstance(found, Withheld):
        return emitter.error(found.code, found.message, tree, len(written), found.hint), []
    if isinstance(found, Record):
        return _whole_record(emitter, found, written, tree), rest
    if not rest:
        report_absent(emitter, found, "", tree)
    emitter.writer.refer(found)
    return found, rest


def _split_field(tree: Tree) -> tuple[str, Tree | None] | None:
    """The field that a step begins with, and the rest of the step: `items[*].title`, which is parsed as one
    step, gives `items` and `@[*].title`. None if it begins with something else."""
    if tree["type"] == "field":
        return tree["value"], None
    if tree["type"] not in _FIRST_SEES_PAYLOAD or not tree["children"]:
        return None
    first, *others = tree["children"]
    split = _split_field(first)
    if split is None:
        return None
    name, remainder = split
    return name, {**tree, "children": [remainder or {"type": "current", "children": []}, *others]}


def _unknown(emitter: BaseEmitter, written: str, owner: Record | None, tree: Tree) -> Atom:
    name = written.rpartition(".")[2].removeprefix("$")
    hint = _hint_for_variable(emitter, name) if owner is None else _hint_for_field(name, owner)
    return emitter.error("unknown-variable", f"unknown variable '{written}'", tree, len(written), hint)


def _hint_for_variable(emitter: BaseEmitter, name: str) -> str | None:
    variables = emitter.scope.variables
    return variable_hint(name, variables) or suggestion(f"${name}", (f"${known}" for known in variables))


def _hint_for_field(name: str, owner: Record) -> str | None:
    near = suggestion(name, owner.fields)
    if near is not None:
        return near
    if owner.hint:
        return owner.hint
    return f"known fields: {', '.join(owner.fields)}" if owner.fields else None


def _whole_record(emitter: BaseEmitter, record: Record, written: str, tree: Tree) -> Atom:
    if record.whole is not None:
        emitter.writer.refer(record.whole)
        return record.whole
    fields = ", ".join(sorted(record.fields)) or "none are available here"
    message = f"'{written}' can only be used with a field: {fields}"
    return emitter.error("unknown-variable", message, tree, len(written))


FORMS: Final[Mapping[str, Form]] = {
    "current": _current,
    "identity": _current,
    "field": _field,
    "index": _index,
    "slice": _slice,
    "subexpression": _subexpression,
    "index_expression": _chain,
    "pipe": _chain,
    "variable": _variable,
}
