"""Python source of conditions on atoms: type, truth, equality, order.

Contract: a function takes atoms and returns the text of a Python condition. If the kind of an atom is known
at load, the text is shorter, down to a literal. Nothing is written to a `Writer` here.
Must not know syntax trees.
"""

from __future__ import annotations

from typing import Final

from engine.language.codegen import Atom, Writer

#: The Python types of each JSON type, by their names in generated code.
PYTHON_TYPES: Final[dict[str, tuple[str, ...]]] = {
    "string": ("str",),
    "number": ("int", "float"),
    "boolean": ("bool",),
    "array": ("list",),
    "object": ("dict",),
    "null": ("type(None)",),
}


def is_kind(atom: Atom, kind: str) -> str:
    """Whether an atom is of a kind with a single Python type."""
    if atom.kind == "any":
        return f"type({atom.source}) is {PYTHON_TYPES[kind][0]}"
    return str(atom.kind == kind)


def is_none_of(name: str, kinds: frozenset[str]) -> str:
    """Whether the value of a name has none of the JSON types."""
    types = [python for kind in sorted(kinds) for python in PYTHON_TYPES[kind]]
    tests = [f"{name} is not None" if t == "type(None)" else f"type({name}) is not {t}" for t in types]
    return " and ".join(tests)


def truth(atom: Atom) -> str:
    """JMESPath's truth of an atom."""
    name = atom.source
    if atom.kind in ("boolean", "string", "array", "object"):
        return name
    if atom.kind in ("number", "null"):
        return str(atom.kind == "number")
    # Null, the most common value, is tested first, because its comparison with 0 is the slowest.
    return f"{name} or {name} is not None and {name} == 0 and {name} is not False"


def equality(writer: Writer, left: Atom, right: Atom) -> str:
    """JMESPath's `==` of two atoms."""
    if left.is_constant and not right.is_constant:
        left, right = right, left
    if right.kind in ("null", "boolean") and right.is_constant and not left.is_constant:
        return f"{left.source} is {right.source}"
    if "string" in (left.kind, right.kind) and (left.is_constant or right.is_constant):
        return f"{left.source} == {right.source}"
    if right.kind == "number" and right.is_constant and not left.is_constant:
        return _is_number(left.source, right)
    if left.kind == "number":
        left, right = right, left
    if right.kind == "number":
        return f"{left.source} == {right.source} and type({left.source}) is not bool"
    return comparison("equal", writer, left, right)


def _is_number(name: str, constant: Atom) -> str:
    """Whether a value equals a number known at load; in Python False == 0 and True == 1."""
    if constant.constant in (0, 1):
        return f"{name} == {constant.source} and {name} is not {bool(constant.constant)}"
    return f"{name} == {constant.source}"


def ordered_with(name: str, operator: str, constant: Atom) -> str:
    """The order of a value and a number known at load; null if the value is not a number."""
    return f"{name} {operator} {constant.source} if type({name}) is int or type({name}) is float else None"


def comparison(name: str, writer: Writer, left: Atom, right: Atom) -> str:
    """A call of a comparison; of the one that charges for their size if they can be compared repeatedly."""
    if writer.is_bounded(left) and writer.is_bounded(right):
        return f"{name}({left.source}, {right.source})"
    return f"{name}_within(x, {left.source}, {right.source})"
