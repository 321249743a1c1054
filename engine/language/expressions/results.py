"""The literal texts of an expression that can be its result.

Contract: every text that is found is a possible result; results that are read or computed are not found.
Must not know what the texts mean.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.language.expressions.parser import Tree

#: Functions that return one of their arguments, with the position of the first that they can return.
_CHOOSING = {"if": 1, "default": 0, "not_null": 0}


def literal_results(tree: Tree) -> Iterator[tuple[str, int]]:
    """Yield each text with the offset of its literal."""
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
