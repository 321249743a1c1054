"""The texts that an expression can give whatever it reads: literals in the places that become its value.

Contract: all that are found are possible results; results that are read or computed are not among them.
Must not know what the texts mean.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.language.expressions.parser import Tree

#: Functions that give one of their arguments, by the first argument that can be given.
_CHOOSING = {"if": 1, "default": 0, "not_null": 0}


def literal_results(tree: Tree) -> Iterator[tuple[str, int]]:
    """Each text, and the offset of its literal."""
    kind, children = tree["type"], tree["children"]
    if kind == "literal" and isinstance(tree["value"], str):
        yield tree["value"], tree["start"]
    elif kind == "or_expression":
        for child in children:
            yield from literal_results(child)
    elif kind in ("and_expression", "pipe"):
        yield from literal_results(children[-1])
    elif kind == "function_expression":
        for child in children[_CHOOSING.get(tree["value"], len(children)) :]:
            yield from literal_results(child)
