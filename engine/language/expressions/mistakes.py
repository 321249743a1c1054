"""Expressions that are valid JMESPath, but cannot be meant as they are written.

Contract: findings only; no code depends on them. `report_mistakes` looks at the tree, the other functions at
the atoms of operands. What is possible, if unlikely, is no finding.
Must not know HTTP or mappings: what values can be is in `Atom.types` and `Atom.common`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.language.codegen import Atom
from engine.language.expressions.base import BaseEmitter
from engine.language.expressions.familiar_names import field_hint
from engine.language.expressions.parser import Tree

#: Names that are literals in JSON and YAML, but fields in JMESPath. A field 'null' that is not compared is as
#: good as a null.
_LITERALS: Final = ("true", "false")
_COMPARED_LITERALS: Final = ("true", "false", "null")
#: Forms whose parts can be text, so that a quoted name in one is suspicious.
_WITH_OPERANDS: Final = ("comparator", "function_expression")
#: Forms whose children after the first one are steps into its value.
_PATHS: Final = ("subexpression", "index_expression", "pipe")
_NULL: Final = frozenset(("null",))
_ALWAYS: Final = {"ne": "always true", "eq": "always false"}


# --- Fields that were meant as literals ------------------------------------------------------------------


def report_mistakes(emitter: BaseEmitter, tree: Tree, text: str) -> None:
    """Report fields of the payload that were meant as literals; `text` is the expression as written."""
    if not any(sign in text for sign in ('"', *_COMPARED_LITERALS)):
        return
    for node in _roots(tree):
        if node["type"] in _WITH_OPERANDS:
            _report_quoted(emitter, node["children"])
        literals = _COMPARED_LITERALS if node["type"] == "comparator" else _LITERALS
        for root in (node, *_parts(node)):
            if _is_name(root) and root["value"] in literals:
                _report_literal(emitter, root)


def _roots(tree: Tree) -> Iterator[Tree]:
    """All parts of a tree except the steps of paths, so that each field is one of the payload."""
    yield tree
    for child in _parts(tree):
        yield from _roots(child)


def _parts(tree: Tree) -> list[Tree]:
    """The children of a tree, except the steps of a path."""
    children = tree["children"][:1] if tree["type"] in _PATHS else tree["children"]
    return [child for child in children if isinstance(child, dict)]


def _is_name(tree: Tree) -> bool:
    """Whether a tree is a field without quotes."""
    return tree["type"] == "field" and not tree.get("quoted")


def _report_literal(emitter: BaseEmitter, tree: Tree) -> None:
    name = tree["value"]
    message = f"'{name}' is a field of the payload here, not the literal"
    hint = f"write it in backticks: `{name}`"
    emitter.findings.error("field-as-literal", message, emitter.span(tree, len(name)), hint)


def _report_quoted(emitter: BaseEmitter, operands: list[Tree]) -> None:
    """Report double quotes that do not belong to a name: around punctuation, and around a name that needs
    none next to one without."""
    is_mixed = any(map(_is_path_of_names, operands))
    for tree in operands:
        if tree.get("quoted") and (_is_punctuation(tree["value"]) or (is_mixed and _is_plain(tree["value"]))):
            message = f'"{tree["value"]}" is a field of the payload, not text: text is in single quotes'
            span = emitter.span(tree, len(tree["value"]) + 2)
            emitter.findings.warning("field-as-literal", message, span, f"write '{tree['value']}'")


def _is_path_of_names(tree: Tree) -> bool:
    """Whether a tree is a name, a variable, or a path of these, all without quotes."""
    if tree["type"] == "subexpression":
        return all(map(_is_path_of_names, tree["children"]))
    return _is_name(tree) or tree["type"] == "variable"


def _is_punctuation(name: str) -> bool:
    return not any(map(str.isalnum, name))


def _is_plain(name: str) -> bool:
    """Whether a name needs no quotes."""
    return name.isascii() and name.isidentifier()


# --- Values that cannot be what is expected --------------------------------------------------------------


def possible_types(atom: Atom) -> frozenset[str]:
    """The JSON types that a value can have; empty if it can have any."""
    return atom.types if atom.kind == "any" else frozenset((atom.kind,))


def report_comparison(emitter: BaseEmitter, tree: Tree, left: Atom, right: Atom) -> None:
    """Report a comparison of values that never have the same type."""
    kinds = [possible_types(atom) for atom in (left, right)]
    is_known = all(kinds) and not any(kind == _NULL for kind in kinds)
    if not is_known or kinds[0] & kinds[1] or _is_known_at_load(tree, left, right):
        return
    one, other = (_names(kind) for kind in kinds)
    result = _ALWAYS.get(tree["value"], "always null")
    message = f"this compares {one} with {other}, so it is {result}"
    emitter.findings.warning("impossible-comparison", message, emitter.span(tree), _conversion(tree))


def _is_known_at_load(tree: Tree, left: Atom, right: Atom) -> bool:
    """Whether both sides are known at load, or one that is no literal: it differs between environments."""
    sides = zip((left, right), tree["children"], strict=True)
    is_computed = any(atom.is_constant and child["type"] != "literal" for atom, child in sides)
    return is_computed or (left.is_constant and right.is_constant)


def _conversion(tree: Tree) -> str:
    """How the two sides can be made comparable."""
    literals = [child["value"] for child in tree["children"] if child["type"] == "literal"]
    for value in literals:
        if isinstance(value, str) and value.strip().isdigit():
            return f"write the number in backticks: `{value.strip()}`"
        if isinstance(value, int | float) and not isinstance(value, bool):
            return f"convert the other side with to_number(…), or write '{value}'"
    return "convert one side with to_number(…) or to_string(…)"


def _names(kinds: frozenset[str]) -> str:
    """Types for a message, the one that is meant first; null is not mentioned next to others."""
    return " or ".join(sorted(kinds - _NULL or kinds, reverse=True))


def report_case(emitter: BaseEmitter, base: Atom, name: str, tree: Tree) -> None:
    """Report a field name with capitals, where all names are in lower case."""
    if base.common is None or not base.common.in_lower_case or name == name.lower():
        return
    message = f"the names are in lower case here, so '{name}' is always null"
    length = len(name) + (0 if _is_name(tree) else 2)
    lower = name.lower()
    hint = f"write '{lower}'" if _is_plain(lower) or tree["type"] == "literal" else f'write "{lower}"'
    emitter.findings.error("header-case", message, emitter.span(tree, length), hint)


def report_case_of_keys(emitter: BaseEmitter, base: Atom, arguments: list[Tree]) -> None:
    """Report literal keys of a function of an object whose names are in lower case, and their capitals."""
    for argument in arguments:
        for tree in (argument, *_parts(argument)):
            if tree["type"] == "literal" and isinstance(tree["value"], str):
                report_case(emitter, base, tree["value"], tree)


def report_absent(emitter: BaseEmitter, base: Atom, name: str, tree: Tree) -> None:
    """Report the use of a value that is always null, or of a field of it."""
    if not base.absent:
        return
    message = f"'{name or '@'}' is always null: there is no payload here"
    hint = field_hint(name, emitter.scope.variables) or base.absent
    report = emitter.findings.error if base.kind == "null" else emitter.findings.warning
    report("no-payload", message, emitter.span(tree, max(len(name), 1)), hint)


def report_null_container(emitter: BaseEmitter, payload: Atom, kind: str, tree: Tree) -> None:
    """Report a list or an object in an expression, which is null where the payload is."""
    if payload.absent:
        what = "a list" if kind == "array" else "an object"
        message = f"{what} in an expression is null without a payload, and there is none here"
        emitter.findings.warning("no-payload", message, emitter.span(tree), f"write {what} of YAML instead")
