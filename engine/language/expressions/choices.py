"""Choices between paths, such as `delta || message`, that are written once and used again.

Contract: only paths into the payload are shared, as they give the same each time. In rules where the payload
is the state itself, which rules change, nothing is.
"""

from __future__ import annotations

from typing import Final

from engine.language.codegen import Atom
from engine.language.expressions.base import BaseEmitter
from engine.language.expressions.parser import Tree

_PATHS: Final = frozenset(
    ("or_expression", "subexpression", "index_expression", "field", "index", "current", "identity")
)


def shared_choice(emitter: BaseEmitter, tree: Tree) -> Atom:
    """The value of `tree`; where it is a choice, its name stays and can be found by `known_choice`."""
    atom = emitter.emit(tree)
    key = _key(emitter, tree)
    if key is not None and atom.source.isidentifier() and not atom.is_constant:
        emitter.writer.remember(key, atom)
    return atom


def known_choice(emitter: BaseEmitter, tree: Tree) -> Atom | None:
    """The atom of a choice that was computed before, in this block or one around it."""
    key = _key(emitter, tree)
    return None if key is None else emitter.writer.recall(key)


def _key(emitter: BaseEmitter, tree: Tree) -> str | None:
    payload = emitter.scope.payload
    is_state = (payload.variable or ("",))[0] == "state"
    if tree["type"] != "or_expression" or is_state or not _is_path(tree):
        return None
    return f"choice of {payload.source}: {_written(tree)}"


def _is_path(tree: Tree) -> bool:
    return tree["type"] in _PATHS and all(map(_is_path, tree["children"]))


def _written(tree: Tree) -> str:
    inner = ", ".join(map(_written, tree["children"]))
    return f"{tree['type']} {tree.get('value')!r} ({inner})"
