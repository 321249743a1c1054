"""Choices between paths, such as `delta || message`, which are computed once and reused.

Contract: only paths into the payload are shared, because they always have the same value. In rules whose
payload is the state, which rules change, nothing is shared.
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
    """Write `tree`; if it is a choice, `known_choice` finds its atom from then on."""
    atom = emitter.emit(tree)
    key = _key(emitter, tree)
    if key is not None and atom.source.isidentifier() and not atom.is_constant:
        emitter.writer.remember(key, atom)
    return atom


def known_choice(emitter: BaseEmitter, tree: Tree) -> Atom | None:
    """The atom of a choice that was computed before, in this block or one around it, or None."""
    key = _key(emitter, tree)
    return None if key is None else emitter.writer.recall(key)


def _key(emitter: BaseEmitter, tree: Tree) -> str | None:
    payload = emitter.scope.payload
    is_state = (payload.variable or ("",))[0] == "state"
    if tree["type"] != "or_expression" or is_state or not _is_path(tree):
        return None
    return f"choice of {payload.source}: {_shape(tree)}"


def _is_path(tree: Tree) -> bool:
    return tree["type"] in _PATHS and all(map(_is_path, tree["children"]))


def _shape(tree: Tree) -> str:
    inner = ", ".join(map(_shape, tree["children"]))
    return f"{tree['type']} {tree.get('value')!r} ({inner})"
