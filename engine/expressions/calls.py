"""The form that calls a function of the library.

Contract: an unknown function, a wrong number of arguments and a function that stands where it must not are
findings. A lazy function is written in place, so that it evaluates only the arguments it needs.
Must not know the functions, but for the lazy ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from engine.codegen import NULL, Atom
from engine.errors import EvaluationError, ExchangeError, suggestion
from engine.expressions.arguments import argument, check
from engine.expressions.base import BaseEmitter, Form
from engine.expressions.conditions import PYTHON_TYPES, truth
from engine.expressions.parser import Tree
from engine.functions import FUNCTIONS, Function
from engine.source import written

#: Groups of functions that do not always give the same.
_CHANGING: Final = frozenset(("times", "ids", "effects"))


def _function_expression(emitter: BaseEmitter, tree: Tree) -> Atom:
    name, arguments = tree["value"], tree["children"]
    function = FUNCTIONS.get(name)
    if function is None:
        hint = suggestion(name, FUNCTIONS)
        return emitter.error("unknown-function", f"unknown function '{name}'", tree, len(name), hint)
    if not _arity_fits(function, len(arguments)):
        return _wrong_arity(emitter, function, tree)
    if name == "nullable":
        return _misplaced_nullable(emitter, tree)
    if function.lazy:
        return _LAZY[name](emitter, arguments)
    with emitter.writer.at(emitter.span(tree, len(name))):
        return _call(emitter, function, arguments)


def _arity_fits(function: Function, count: int) -> bool:
    return function.minimum <= count and (function.maximum is None or count <= function.maximum)


def _wrong_arity(emitter: BaseEmitter, function: Function, tree: Tree) -> Atom:
    count = len(tree["children"])
    message = f"{function.signature} got {count} {'argument' if count == 1 else 'arguments'}"
    return emitter.error("wrong-arity", message, tree, len(function.name))


def _misplaced_nullable(emitter: BaseEmitter, tree: Tree) -> Atom:
    message = "nullable() can only be the outermost function of an expression"
    return emitter.error("misplaced-nullable", message, tree, len("nullable"))


def _expref(emitter: BaseEmitter, tree: Tree) -> Atom:
    return emitter.error("wrong-argument", "'&' stands only where a function takes an expression", tree)


def _call(emitter: BaseEmitter, function: Function, arguments: list[Tree]) -> Atom:
    if function.name == "pick":
        return _pick(emitter, function, arguments)
    reports = emitter.findings.reports
    atoms = [_argument(emitter, function, position, tree) for position, tree in enumerate(arguments)]
    is_sound = emitter.findings.reports == reports
    return (_folded(emitter, function, atoms) if is_sound else None) or _called(emitter, function, atoms)


def _argument(emitter: BaseEmitter, function: Function, position: int, tree: Tree) -> Atom:
    """An argument; the text of a failure or a warning, the last one, is read by people."""
    outer, is_told = emitter.scope, function.group == "effects" and position == 1
    emitter.scope = outer.telling() if is_told else outer
    atom = argument(emitter, function, position, tree)
    emitter.scope = outer
    return atom


def _called(emitter: BaseEmitter, function: Function, atoms: list[Atom]) -> Atom:
    sources = [*(("x",) if function.context else ()), *(atom.source for atom in atoms)]
    name = "f_" + function.name
    emitter.writer.names[name] = function.implementation
    kind = function.returns if function.returns in PYTHON_TYPES else "any"
    return emitter.writer.let(f"{name}({', '.join(sources)})", kind)


def _folded(emitter: BaseEmitter, function: Function, atoms: list[Atom]) -> Atom | None:
    """The result at load, of a function that always gives the same; None where it has to be called."""
    constant = atoms and all(atom.is_constant for atom in atoms)
    if not constant or function.group in _CHANGING or function.context:
        return None
    try:
        return emitter.writer.constant(function.implementation(*(atom.constant for atom in atoms)))
    except (EvaluationError, ExchangeError):
        return None


def _pick(emitter: BaseEmitter, function: Function, arguments: list[Tree]) -> Atom:
    """`pick` reads only the keys it names, where they are known at load."""
    keys = argument(emitter, function, 1, arguments[1])
    source = emitter.emit(arguments[0])
    if source.origin is None or not keys.is_constant or type(keys.constant) is not list:
        source = argument(emitter, function, 0, arguments[0])
    else:
        check(emitter, function, 0, source, arguments[0])
        for key in keys.constant:
            emitter.writer.reads.add((*source.origin, key))
    return _called(emitter, function, [source, keys])


# --- Functions that evaluate only the arguments they need ------------------------------------------------


def _if(emitter: BaseEmitter, arguments: list[Tree]) -> Atom:
    result, condition = emitter.writer.fresh(), emitter.asked(arguments[0])
    with emitter.writer.block(f"if {truth(condition)}"):
        value = emitter.emit(arguments[1])
        emitter.writer.line(f"{result} = {value.source}")
    with emitter.writer.block("else"):
        other = emitter.used(arguments[2]) if len(arguments) > 2 else NULL
        emitter.writer.line(f"{result} = {other.source}")
    if other is NULL:
        return Atom(result, origin=value.origin)
    emitter.writer.use(value)
    return Atom(result)


def _not_null(emitter: BaseEmitter, arguments: list[Tree]) -> Atom:
    if len(arguments) == 2:
        checked = emitter.unless(arguments[0], arguments[1], "if {name} is None")
        if checked is not None:
            return checked
    result = emitter.own(emitter.used(arguments[0]), arguments[0])
    for tree in arguments[1:]:
        with emitter.writer.block(f"if {result} is None"):
            emitter.writer.line(f"{result} = {emitter.used(tree).source}")
    return Atom(result)


def _drop(emitter: BaseEmitter, arguments: list[Tree]) -> Atom:
    """Its field is not read by this; which one it is, is known at load."""
    field = emitter.emit(arguments[0])
    if not field.origin:
        return emitter.error("wrong-argument", "drop() takes a field of the client's body", arguments[0])
    with emitter.writer.block(f"if {field.source} is not None"):
        emitter.writer.line(f"x.drop({written(field.origin)!r})")
    if emitter.scope.notes_nulls:
        with emitter.writer.block("else"):
            emitter.writer.line(f"x.drop_null({written(field.origin)!r}, {field.origin!r})")
    return NULL


_LAZY: Final[Mapping[str, Callable[[BaseEmitter, list[Tree]], Atom]]] = {
    "if": _if,
    "not_null": _not_null,
    "default": _not_null,
    "drop": _drop,
}

FORMS: Final[Mapping[str, Form]] = {
    "function_expression": _function_expression,
    "expref": _expref,
}
