"""What a call takes from the budget of its exchange: code before and after the call.

Contract: constants cost nothing, because the size of the mapping's file bounds them. The lines have the
location of the call, so that an error about an exceeded limit has it too.
Must not know individual functions.
"""

from __future__ import annotations

from typing import Final

from engine.language.budget import SHORT_TEXT
from engine.language.codegen import Atom, Writer
from engine.language.expressions.support import parameter_at
from engine.language.functions import Function

_TEXT: Final = frozenset(("string",))
_ITEMS: Final = frozenset(("array", "object"))
_NULL: Final = frozenset(("null",))
_SMALL: Final = ("number", "boolean", "null")
_CHECK: Final = "if x.steps < 0 or x.bytes < 0: raise_limit_error(x)"


def charge_arguments(writer: Writer, function: Function, atoms: list[Atom]) -> None:
    """Write the code that charges for the arguments of a call, before the call."""
    cost, each = function.cost, function.cost.item_bytes
    is_loop = any(atom.kind == "expression" for atom in atoms)
    each += sum(writer.weights.get(atom.source, 0) for atom in atoms if atom.kind == "expression")
    for position, atom in enumerate(atoms):
        if atom.is_constant or atom.kind in _SMALL:
            continue
        if min(position, len(function.parameters) - 1) in cost.measured:
            _measure(writer, function, atom, atom)
        elif cost.arguments and (is_loop or each or cost.text_bytes or not writer.is_bounded(atom)):
            _charge(writer, function, position, atom, each)
    if cost.compared and not atoms[-1].is_constant:
        _measure(writer, function, atoms[-1], atoms[0])


def _measure(writer: Writer, function: Function, atom: Atom, measured: Atom) -> None:
    """Write the code that charges for traversing a value at any depth, for lists and objects."""
    if not writer.is_bounded(measured):
        take = "check_value" if function.returns in ("string", "boolean") else "take_value"
        writer.line(f"if type({atom.source}) in CONTAINERS: {take}(x, {measured.source})")


def _charge(writer: Writer, function: Function, position: int, atom: Atom, each: int) -> None:
    """Write the code that charges for one argument, by the types of its parameter."""
    parameter, name = parameter_at(function, position), atom.source
    kinds = frozenset((atom.kind,)) if atom.kind in parameter.types else parameter.types
    if kinds - _NULL == _TEXT:
        writer.line(f"if {name} and len({name}) > {SHORT_TEXT}: take_text(x, {name})")
        if function.cost.text_bytes:
            writer.line(f"if {name}: take_bytes(x, len({name}))")
    elif kinds and kinds - _NULL <= _ITEMS:
        produced = f"; x.bytes -= {each} * len({name})" if each else ""
        test = f"if {name} is not None: " if kinds & _NULL else ""
        writer.line(f"{test}x.steps -= len({name}){produced}")
        writer.line(_CHECK)
    elif kinds & _TEXT and kinds & _ITEMS:
        writer.line(f"take_items(x, {name})")
        if function.cost.text_bytes:
            writer.line(f"if type({name}) is str: take_bytes(x, len({name}))")


def makes_new_value(function: Function) -> bool:
    """Whether the result of a call contains no part of its arguments that has not been charged for."""
    kinds = frozenset(function.returns.split("|"))
    cost = function.cost
    return cost.text_bytes or bool(cost.measured) or kinds - _NULL == _TEXT


def charge_result(writer: Writer, function: Function, result: Atom, atoms: list[Atom]) -> None:
    """Write the code that charges for a created text."""
    kinds = frozenset(function.returns.split("|"))
    if function.cost.result and kinds - _NULL == _TEXT:
        charge_text(writer, result.source, [] if function.cost.expands else atoms)


def charge_text(writer: Writer, name: str, parts: list[Atom]) -> None:
    """Write the code that charges for a text, or null, created only from `parts`, if there are any."""
    if parts and all(map(writer.is_bounded, parts)):
        return
    with writer.block(f"if {name}"):
        writer.line(f"x.bytes -= len({name})")
        writer.line("if x.bytes < 0: raise_limit_error(x)")
