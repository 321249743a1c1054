"""The code of any template: its value passed to a sink, bound to a name, or iterated over.

Contract: every line belongs to the node that it is written for. A template without a value has no code.
Must not know what the code is for.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.language.codegen import Atom
from engine.language.templates.base import BaseTemplateWriter, Sink
from engine.language.templates.contents import write_list
from engine.language.templates.control import write_loop, write_mapping
from engine.language.templates.directives import is_certain
from engine.language.templates.strings import is_static, single_expression
from engine.language.templates.texts import bind_expression, write_string
from engine.language.uses import either
from engine.locations import Node


class TemplateWriter(BaseTemplateWriter):
    """Writes the code of one template, whatever its value."""

    def emit(self, node: Node, sink: Sink) -> None:
        """Write code that computes `node` and passes the value to `sink`, if there is a value."""
        with self.writer.at(node.span):
            if isinstance(node.value, str):
                write_string(self, node, sink)
            elif is_static(node.value):
                sink(self.writer.constant(node.value))
            elif isinstance(node.value, list):
                write_list(self, node, sink)
            else:
                write_mapping(self, node, sink)

    def bind(self, node: Node) -> Atom:
        """Write code that assigns a template's value to a name; null if it has no value."""
        if is_certain(node.value):
            found: list[Atom] = []
            self.emit(node, found.append)
            return found[0] if found else self.writer.let("None")
        if single_expression(node.value) is not None:
            return bind_expression(self, node)
        return self._assigned(node)

    def _assigned(self, node: Node) -> Atom:
        """A name that is null until a branch with a value assigns it."""
        name = self.writer.fresh("l")
        given: list[Atom] = []

        def assign(atom: Atom) -> None:
            given.append(atom)
            self.writer.line(f"{name} = {atom.source}")

        self.writer.line(f"{name} = None")
        self.emit(node, assign)
        return self.writer.item(Atom(name, origin=either(*(atom.origin for atom in given))), *given)

    def loop(self, node: Node, act: Callable[[], None]) -> None:
        """Write a loop over a list or object, whose item is the payload; nothing runs for null."""
        source = self.bind(node)
        with self.writer.block(f"if {source.source} is not None"):
            write_loop(self, node, source, act)
