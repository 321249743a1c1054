"""The code of the arguments of a call, and checks of their types.

Contract: `argument` writes one argument. A wrong type is a finding if it is known at load; otherwise
generated code checks it before the call.
Must not know how calls are written.
"""

from __future__ import annotations

from typing import Final

from engine.diagnostics import suggestion
from engine.errors import KINDS
from engine.language.codegen import Atom
from engine.language.expressions.base import BaseEmitter
from engine.language.expressions.conditions import is_none_of
from engine.language.expressions.parser import Tree
from engine.language.expressions.support import items_match, parameter_at, wrong_type
from engine.language.functions import Function, Parameter, compile_regex
from engine.language.uses import Origin

_TEXT: Final = "text, or a list of texts"
_CONVERT: Final = "convert it with to_number(…)"


def argument(
    emitter: BaseEmitter,
    function: Function,
    position: int,
    tree: Tree,
    is_used: bool = True,
    item: Origin | None = None,
) -> Atom:
    """Write the argument of `function` at `position`; unless `is_used`, the caller records what is read.

    If it is an expression, `item` is the origin of its payload.
    """
    parameter = parameter_at(function, position)
    if "expression" in parameter.types:
        return Atom(_expression(emitter, function, parameter, tree, item), "expression")
    if parameter.types & {"regex", "kind"}:
        return Atom(_constant(emitter, function, parameter, tree))
    emit = emitter.emit if function.cost.arguments else emitter.peek
    atom = emit(tree)
    if is_used:
        emitter.writer.use(atom)
    check(emitter, function, position, atom, tree)
    return atom


def _expression(
    emitter: BaseEmitter, function: Function, parameter: Parameter, tree: Tree, item: Origin | None
) -> str:
    if tree["type"] == "expref":
        return emitter.nested(tree["children"][0], item)
    message = f"{function.name}() takes an expression as '{parameter.name}': put '&' before it"
    return emitter.error("wrong-argument", message, tree).source


def _constant(emitter: BaseEmitter, function: Function, parameter: Parameter, tree: Tree) -> str:
    if tree["type"] != "literal" or not isinstance(tree["value"], str):
        message = f"{function.name}() takes a literal string as '{parameter.name}'"
        return emitter.error("wrong-argument", message, tree).source
    return _kind(emitter, tree) if "kind" in parameter.types else _regex(emitter, tree)


def _kind(emitter: BaseEmitter, tree: Tree) -> str:
    name = tree["value"]
    if name in KINDS:
        return repr(name)
    hint = suggestion(name, KINDS)
    return emitter.error("wrong-argument", f"unknown error kind '{name}'", tree, 1, hint).source


def _regex(emitter: BaseEmitter, tree: Tree) -> str:
    try:
        return emitter.writer.bind(compile_regex(tree["value"]), "r")
    except ValueError as error:
        return emitter.error("bad-regex", f"invalid RE2 regular expression: {error}", tree).source


def check(emitter: BaseEmitter, function: Function, position: int, atom: Atom, tree: Tree) -> None:
    """Report an argument of a wrong type; write a check if the type is not known at load."""
    parameter = parameter_at(function, position)
    if not parameter.types or (atom.kind in parameter.types and not parameter.items):
        return
    if atom.kind != "any" and atom.kind not in parameter.types:
        is_text = atom.kind == "string" and "number" in parameter.types
        hint = _CONVERT if is_text else None
        emitter.error("wrong-argument", wrong_type(function, position, atom.kind), tree, 1, hint)
    elif atom.is_constant and not items_match(parameter, atom.constant):
        emitter.error("wrong-argument", wrong_type(function, position, "an array of other types"), tree)
    elif atom.types and not (atom.types - {"null"}) & parameter.types:
        emitter.error("wrong-argument", wrong_type(function, position, _TEXT), tree, 1, _CONVERT)
    elif not atom.is_constant:
        if atom.usual and not (atom.usual - {"null"}) & parameter.types:
            message = wrong_type(function, position, _TEXT)
            emitter.findings.warning("wrong-argument", message, emitter.span(tree), _CONVERT)
        _check_at_run_time(emitter, function, position, atom)


def _check_at_run_time(emitter: BaseEmitter, function: Function, position: int, atom: Atom) -> None:
    parameter, writer = parameter_at(function, position), emitter.writer
    test = is_none_of(atom.source, parameter.types)
    if parameter.items:
        test = f"{test} or not items_match({writer.bind(parameter, 'q')}, {atom.source})"
    writer.names[f"f_{function.name}_"] = function
    writer.line(f"if {test}: bad_argument(f_{function.name}_, {position}, {atom.source})")
