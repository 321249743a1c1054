"""What the code of every form of expression is written with: scope, writer, findings and places.

Contract: a *form* is a type of node in the syntax tree, and a function of type `Form` writes its code. The
files of forms (paths, projections, logic, calls) know one another's code only through `emit`.
Must not know any form.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from engine.diagnostics import Findings
from engine.language.codegen import Atom, Writer
from engine.language.expressions.conditions import truth
from engine.language.expressions.parser import Tree
from engine.language.expressions.scope import Scope
from engine.locations import Node, Span

#: Forms that take parts of a value, and never give the value itself.
_INSIDE: Final = frozenset(
    ("field", "index", "index_expression", "projection", "filter_projection", "value_projection")
)


class BaseEmitter(ABC):
    """Writes the code of one expression.

    Args:
        scope: what the expression sees.
        writer: receives the code.
        findings: receives what is wrong.
        node: the scalar the expression stands in.
        offset: where in the scalar's value the expression begins.
    """

    def __init__(self, scope: Scope, writer: Writer, findings: Findings, node: Node, offset: int) -> None:
        self.scope = scope
        self.writer = writer
        self.findings = findings
        self.node = node
        self.offset = offset
        self._looks_at: tuple[Tree, bool] | None = None

    @abstractmethod
    def emit(self, tree: Tree) -> Atom:
        """Write the code of `tree`; the atom returned holds its value."""

    @property
    def payload(self) -> Atom:
        """The payload, which the code that is being written evaluates."""
        self.writer.refer(self.scope.payload)
        return self.scope.payload

    def used(self, tree: Tree) -> Atom:
        """The value of `tree`, used as a whole."""
        atom = self.emit(tree)
        self.writer.use(atom)
        return atom

    def asked(self, tree: Tree) -> Atom:
        """The value of `tree`, used for its truth alone."""
        atom = self.look_at(tree, only_truth=True)
        self.writer.ask(atom)
        return atom

    def tested(self, tree: Tree) -> Atom:
        """The value of `tree`, of which the truth is used here; it may be the result as well."""
        atom = self.emit(tree)
        self.writer.ask(atom)
        return atom

    def look_at(self, tree: Tree, only_truth: bool = False) -> Atom:
        """The value of `tree`, which is not held on to: only its size and parts, or its truth is used."""
        self._looks_at = tree, only_truth
        return self.emit(tree)

    def release(self, atom: Atom, tree: Tree, rest: list[Tree]) -> None:
        """Write what comes before the use of a variable, whose path `tree` is, with `rest` left to do."""
        looks_at, self._looks_at = self._looks_at, None
        is_only_seen = looks_at is not None and looks_at[0] is tree
        goes_inside = bool(rest) and rest[0]["type"] in _INSIDE
        if not atom.release or (atom.keeps_parts and (goes_inside or (is_only_seen and not rest))):
            return
        if rest or not (is_only_seen and looks_at is not None and looks_at[1]):
            self.writer.line(atom.release)

    def under(self, payload: Atom, tree: Tree) -> Atom:
        """The value of `tree` with another payload."""
        outer, self.scope = self.scope, self.scope.with_payload(payload)
        result = self.emit(tree)
        self.scope = outer
        return result

    def nested(self, tree: Tree) -> str:
        """The name of a nested function of the payload."""
        name, parameter = self.writer.fresh("e"), self.writer.fresh("v")
        with self.writer.function(name, parameter):
            value = self.under(self.writer.item(Atom(parameter)), tree)
            self.writer.use(value)
            self.writer.place(value)
            self.writer.line(f"return {value.source}")
        return name

    def own(self, atom: Atom, tree: Tree) -> str:
        """A name that holds the atom's value and can take another; its own, where nothing else has it."""
        is_fresh = tree["type"] in ("function_expression", "or_expression", "and_expression")
        is_fresh = is_fresh and not atom.is_constant and atom.source not in self.writer.shared
        return atom.source if is_fresh else self.writer.let(atom.source).source

    def unless(self, tree: Tree, other: Tree, header: str) -> Atom | None:
        """The value of `tree`, which `other` ends the exchange in the place of where `header` holds of it.

        So it is the value of `tree` wherever it goes on, and keeps its origin; the check alone does not count
        as reading it. None where `other` may give a value; then nothing is written.
        """
        if other["type"] != "function_expression" or other["value"] != "fail":
            return None
        atom = self.emit(tree)
        self.writer.check(atom)
        with self.writer.block(header.format(name=atom.source, truth=truth(atom))):
            self.emit(other)
        return replace(atom, source=self.writer.let(atom.source).source, is_constant=False)

    def error(self, code: str, message: str, tree: Tree, length: int = 1, hint: str | None = None) -> Atom:
        """Record a finding. The atom returned may be anything, so that no second finding comes of it."""
        self.findings.error(code, message, self.span(tree, length), hint)
        return self.writer.let("None")

    def span(self, tree: Tree, length: int = 1) -> Span:
        """The place of `tree` in the mapping's file."""
        return self.node.span_at(self.offset + tree.get("start", 0), length)


Form: TypeAlias = Callable[[BaseEmitter, Tree], Atom]
