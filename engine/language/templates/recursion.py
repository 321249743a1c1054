"""Which named templates use themselves, and which of these never end.

Contract: a template uses another one if a `$use` anywhere in it has that name. A use is certain if every
evaluation of the template reaches it, so a template with a certain path to itself never ends.
Must not know how templates are written as code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from engine.locations import Node

#: The directives that may give nothing, in the order in which they apply; what follows one is not certain.
_CONDITIONAL: Final = ("$each", "$with", "$if", "$switch")


class TemplateGraph:
    """The uses among the named templates of a mapping; the results are stored."""

    def __init__(self, named: Mapping[str, Node]) -> None:
        self._named = named
        self._recursive: dict[str, bool] = {}
        self._endless: dict[str, bool] = {}

    def is_recursive(self, name: str) -> bool:
        """Whether a template uses itself, directly or through others."""
        if name not in self._recursive:
            self._recursive[name] = self._reaches_itself(name, lambda node: _names_used(node.value))
        return self._recursive[name]

    def is_endless(self, name: str) -> bool:
        """Whether a template always uses itself, directly or through others."""
        if name not in self._endless:
            self._endless[name] = self._reaches_itself(
                name, lambda node: (str(use.value) for use in _certain_uses(node))
            )
        return self._endless[name]

    def is_certain_use(self, name: str, use: Node) -> bool:
        """Whether every evaluation of a template reaches this `$use` in it."""
        return any(use.path == certain.path for certain in _certain_uses(self._named[name]))

    def _reaches_itself(self, start: str, uses: Callable[[Node], Iterable[str]]) -> bool:
        seen: set[str] = set()
        pending = [start]
        while pending:
            node = self._named.get(pending.pop())
            new = set(uses(node)) - seen if node is not None else ()
            seen.update(new)
            pending.extend(new)
        return start in seen


def _names_used(value: Any) -> Iterator[str]:
    """The names of all templates that a template uses."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if isinstance(item.get("$use"), str):
                yield item["$use"]
            pending += item.values()
        elif isinstance(item, list):
            pending += item


def _certain_uses(node: Node) -> Iterator[Node]:
    """Each `$use` that every evaluation of a template reaches."""
    if isinstance(node.value, list):
        for child in node.elements():
            yield from _certain_uses(child)
    elif isinstance(node.value, dict):
        if "$use" in _certain_keys(node):
            yield node["$use"]
        for key in _certain_keys(node):
            yield from _certain_uses(node[key])


def _certain_keys(node: Node) -> list[str]:
    """The keys of a mapping whose values are always evaluated."""
    first = next((key for key in _CONDITIONAL if key in node.value), None)
    if first is None:
        return list(node.value)
    is_let_evaluated = first != "$each" and "$let" in node.value
    return [first, *(["$let"] if is_let_evaluated else [])]
