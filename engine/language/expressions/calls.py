"""The form of function calls.

Contract: an unknown function, a wrong number of arguments and a misplaced function are findings. A lazy
function is written in place, so that it evaluates only the arguments it needs.
Must not know the functions, except the lazy ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from engine.diagnostics import suggestion
from engine.errors import EvaluationError, ExchangeError
from engine.language.codegen import NULL, Atom, Writer
from engine.language.expressions.arguments import argument, check
from engine.language.expressions.base import BaseEmitter, Form
from engine.language.expressions.conditions import PYTHON_TYPES, truth
from engine.language.expressions.costs import charge_arguments, charge_result, makes_new_value
from engine.language.expressions.familiar_names import function_hint
from engine.language.expressions.mistakes import report_case_of_keys
from engine.language.expressions.parser import Tree
from engine.language.expressions.scope import CLIENT_BODY
from engine.language.functions import FUNCTIONS, Function
from engine.language.uses import Constructed, Origin, Without, either, path_text

#: What functions with an effect do wherever they are evaluated.
_EFFECTS: Final[Mapping[str, str]] = {
    "fail": "the request always fails",
    "drop": "the field is always reported as dropped",
}
#: Functions that take an object, and then keys of it.
_KEYED: Final = ("lookup", "pick", "omit")
#: The fields of a part of a message's content that `text()` reads.
_PART_FIELDS: Final = ("text", "type")
_LAZY_HINT: Final = "use it in if(), default() or after ||, which evaluate only what they need"
_IN_READER: Final = "give each item its id in the rules of the reader"


def _function_expression(emitter: BaseEmitter, tree: Tree) -> Atom:
    name, arguments = tree["value"], tree["children"]
    function = FUNCTIONS.get(name)
    if function is None:
        hint = function_hint(name) or suggestion(name, FUNCTIONS)
        return emitter.error("unknown-function", f"unknown function '{name}'", tree, len(name), hint)
    if not _is_arity_valid(function, len(arguments)):
        return _wrong_arity(emitter, function, tree)
    if function.lazy:
        return _LAZY[name](emitter, tree)
    with emitter.writer.at(emitter.span(tree, len(name))):
        if function.steady and emitter.scope.steady_loops is not None:
            return _steady_call(emitter, function, tree)
        return _call(emitter, function, arguments)


def _is_arity_valid(function: Function, count: int) -> bool:
    return function.minimum <= count and (function.maximum is None or count <= function.maximum)


def _wrong_arity(emitter: BaseEmitter, function: Function, tree: Tree) -> Atom:
    count = len(tree["children"])
    message = f"{function.signature} got {count} {'argument' if count == 1 else 'arguments'}"
    hint = None if count else f"a function takes its values as arguments: {function.name}(value)"
    return emitter.error("wrong-arity", message, tree, len(function.name), hint)


def _expref(emitter: BaseEmitter, tree: Tree) -> Atom:
    return emitter.error("wrong-argument", "'&' is only allowed before an argument of type expression", tree)


def _call(emitter: BaseEmitter, function: Function, arguments: list[Tree]) -> Atom:
    reports = emitter.findings.reports
    atoms: list[Atom] = []
    for position, tree in enumerate(arguments):
        item = atoms[0].item if atoms and function.name in _PASSING else None
        atoms.append(_argument(emitter, function, position, tree, item))
    if function.name in _KEYED:
        report_case_of_keys(emitter, atoms[0], arguments[1:])
    is_sound = emitter.findings.reports == reports
    folded = _folded(emitter, function, atoms) if is_sound else None
    return folded or _called(emitter, function, atoms)


def write_arguments(emitter: BaseEmitter, function: Function, first: Atom, trees: list[Tree]) -> list[Atom]:
    """Write the arguments of a call except `first`, which exists already; all of them are checked."""
    others = [_argument(emitter, function, position, tree) for position, tree in enumerate(trees, 1)]
    if trees:
        check(emitter, function, 0, first, trees[0])
    return [first, *others]


def write_call(emitter: BaseEmitter, function: Function, atoms: list[Atom]) -> Atom:
    """Write a call of a function with arguments that have been checked."""
    return _called(emitter, function, atoms)


def _argument(
    emitter: BaseEmitter, function: Function, position: int, tree: Tree, item: Origin | None = None
) -> Atom:
    """Write an argument; the message of an error or a warning uses the variables for messages."""
    outer, is_message = emitter.scope, function.group == "effects" and position == 1
    if function.group != "effects":
        _check_effect(emitter, function, tree)
    emitter.scope = outer.for_message() if is_message else outer
    atom = argument(emitter, function, position, tree, function.name not in _PASSING, item)
    emitter.scope = outer
    return atom


def _check_effect(emitter: BaseEmitter, function: Function, tree: Tree) -> None:
    """Warn about an effect meant for one case that happens in all, as in `lookup(table, key, fail(…))`."""
    always = _EFFECTS.get(tree["value"]) if tree["type"] == "function_expression" else None
    if always is not None:
        message = f"{function.name}() evaluates all of its arguments, so {always}"
        span = emitter.span(tree, len(tree["value"]))
        emitter.findings.warning("always-evaluated", message, span, _LAZY_HINT)


def _called(emitter: BaseEmitter, function: Function, atoms: list[Atom]) -> Atom:
    writer = emitter.writer
    sources = [*(("x",) if function.context else ()), *(atom.source for atom in atoms)]
    name = "f_" + function.name
    writer.names[name] = function.implementation
    writer.is_pure &= function.pure
    kind = function.returns if function.returns in PYTHON_TYPES else "any"
    charge_arguments(writer, function, atoms)
    passing = _PASSING.get(function.name)
    origin = passing(writer, atoms) if passing else None
    result = writer.let(f"{name}({', '.join(sources)})", kind, origin)
    charge_result(writer, function, result, atoms)
    return writer.item(result, *(() if makes_new_value(function) else atoms))


def _steady_call(emitter: BaseEmitter, function: Function, tree: Tree) -> Atom:
    """Write a call that has one value per call site and exchange, so that all parts of a stream agree."""
    writer = emitter.writer
    atoms = [_argument(emitter, function, number, each) for number, each in enumerate(tree["children"])]
    for atom in atoms:
        writer.use(atom)
    if writer.loops > (emitter.scope.steady_loops or 0) and function.returns == "string":
        message = f"in a pipeline {function.name}() has one value per response, so all items get the same"
        emitter.findings.warning("repeated-id", message, emitter.span(tree, len(function.name)), _IN_READER)
    name, span = "f_" + function.name, emitter.span(tree, len(function.name))
    writer.names[name] = function.implementation
    writer.is_pure = False
    site = f"{span.file.name}:{span.line}:{span.column}"
    arguments = "".join(f", {atom.source}" for atom in atoms)
    kind = function.returns if function.returns in PYTHON_TYPES else "any"
    return writer.item(writer.let(f"x.once({site!r}, {name}{arguments})", kind))


def _folded(emitter: BaseEmitter, function: Function, atoms: list[Atom]) -> Atom | None:
    """The result of a pure function of constants, computed at load; None if it must be called at run time."""
    constant = atoms and all(atom.is_constant for atom in atoms)
    if not constant or not function.pure or function.context:
        return None
    try:
        return emitter.writer.constant(function.implementation(*(atom.constant for atom in atoms)))
    except (EvaluationError, ExchangeError):
        return None


# --- Functions whose result contains parts of their arguments ---------------------------------------------


def _picked(writer: Writer, atoms: list[Atom]) -> Origin | None:
    source, keys = atoms
    writer.use_presence(source)  # its type is checked even if nothing is read of the result
    names = _constant_names(writer, keys)
    if names is None:
        writer.use(source)
        return None
    made = Constructed()
    for name in names:
        made.add_field(name, source.inside(name))
    return made


def _omitted(writer: Writer, atoms: list[Atom]) -> Origin | None:
    source, keys = atoms
    writer.use_presence(source)
    names = _constant_names(writer, keys)
    return source.origin if names is None or source.origin is None else Without(source.origin, names)


def _constant_names(writer: Writer, keys: Atom) -> frozenset[str] | None:
    """The keys of `pick()` or `omit()` if they are known at load, else None."""
    writer.use(keys)
    known = keys.constant if keys.is_constant else keys.elements
    return frozenset(filter(_is_text, known)) if isinstance(known, list | tuple) else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _merged(writer: Writer, atoms: list[Atom]) -> Origin | None:
    made = Constructed()
    for atom in atoms:
        writer.use_presence(atom)
        made.replace(atom.always)
        made.add_spread(atom.origin)
    return made


def _arranged(writer: Writer, atoms: list[Atom]) -> Origin | None:
    """The items of a list in another order; what the key reads of them is recorded where it is written."""
    writer.use_presence(atoms[0])
    return atoms[0].origin


def _grouped(writer: Writer, atoms: list[Atom]) -> Origin | None:
    writer.use_presence(atoms[0])
    group, groups = Constructed(), Constructed()
    group.add_item(atoms[0].item)
    groups.add_item(group)
    return groups


def _texts(writer: Writer, atoms: list[Atom]) -> Origin | None:
    """Nothing, as the result is text: what `text()` reads of an item is a text, or the fields of a part."""
    item = Atom("", origin=atoms[0].item)
    writer.use_presence(atoms[0])
    for name in _PART_FIELDS:
        writer.use(Atom("", origin=item.inside(name)))
    return None


def _warned(writer: Writer, atoms: list[Atom]) -> Origin | None:
    writer.use(atoms[1])
    return atoms[0].origin


#: The origin of the result of each; arguments of which the result contains nothing are used here.
_PASSING: Final[Mapping[str, Callable[[Writer, list[Atom]], Origin | None]]] = {
    "pick": _picked,
    "omit": _omitted,
    "merge": _merged,
    "reverse": _arranged,
    "sort_by": _arranged,
    "group_adjacent": _grouped,
    "text": _texts,
    "warn": _warned,
}


# --- Functions that evaluate only the arguments they need ------------------------------------------------


def _if(emitter: BaseEmitter, tree: Tree) -> Atom:
    arguments = tree["children"]
    result, condition = emitter.writer.fresh(), emitter.emit_condition(arguments[0])
    with emitter.writer.block(f"if {truth(condition)}"):
        value = emitter.emit(arguments[1])
        emitter.writer.line(f"{result} = {value.source}")
    with emitter.writer.block("else"):
        other = emitter.emit(arguments[2]) if len(arguments) > 2 else NULL
        emitter.writer.line(f"{result} = {other.source}")
    origin = value.origin if other is NULL else either(value.origin, other.origin)
    return emitter.writer.item(Atom(result, origin=origin), value, other)


def _not_null(emitter: BaseEmitter, tree: Tree) -> Atom:
    arguments = tree["children"]
    if len(arguments) == 2:
        checked = emitter.unless(arguments[0], arguments[1], "if {name} is None")
        if checked is not None:
            return checked
    values = [emitter.tested(arguments[0])]
    result = emitter.own(values[0], arguments[0])
    for other in arguments[1:]:
        with emitter.writer.block(f"if {result} is None"):
            values.append(emitter.tested(other))
            emitter.writer.line(f"{result} = {values[-1].source}")
    origin = either(*(value.origin for value in values))
    return emitter.writer.item(Atom(result, origin=origin, usual=values[0].types), *values)


def _drop(emitter: BaseEmitter, tree: Tree) -> Atom:
    """Write `drop()`, which does not count as reading its field; the field is known at load."""
    (child,) = tree["children"]
    field = emitter.emit(child)
    path, emitter.writer.is_pure = field.variable or (), False
    if path[:2] != CLIENT_BODY or path == CLIENT_BODY:
        return emitter.error("wrong-argument", "drop() takes a field of the client's body", child)
    with emitter.writer.block(f"if {field.source} is not None"):
        emitter.writer.line(f"x.drop({path_text(path[2:])!r})")
    if emitter.scope.notes_nulls:
        with emitter.writer.block("else"):
            emitter.writer.line(f"x.drop_null({path[2:]!r})")
    return NULL


def _misplaced_nullable(emitter: BaseEmitter, tree: Tree) -> Atom:
    message = "nullable() can only be the outermost function of an expression"
    return emitter.error("misplaced-nullable", message, tree, len("nullable"))


#: The code of each function that is lazy, from its call.
_LAZY: Final[Mapping[str, Callable[[BaseEmitter, Tree], Atom]]] = {
    "if": _if,
    "not_null": _not_null,
    "default": _not_null,
    "drop": _drop,
    "nullable": _misplaced_nullable,
}

FORMS: Final[Mapping[str, Form]] = {
    "function_expression": _function_expression,
    "expref": _expref,
}
