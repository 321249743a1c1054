"""The base of the code of all forms of expressions: scope, writer, findings and locations.

Contract: a *form* is a type of node in the syntax tree, and a function of type `Form` writes its code. The
modules of forms (paths, projections, logic, calls) use each other's code only through `emit`.
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
from engine.language.uses import Origin
from engine.locations import Node, Span

#: Forms that return parts of a value, never the value itself.
_INSIDE: Final = frozenset(
    ("field", "index", "index_expression", "projection", "filter_projection", "value_projection")
)


class BaseEmitter(ABC):
    """Writes the code of one expression.

    Args:
        scope: the payload and variables of the expression.
        writer: receives the code.
        findings: receives errors and warnings.
        node: the scalar that contains the expression.
        offset: the start of the expression in the scalar's value.
    """

    def __init__(self, scope: Scope, writer: Writer, findings: Findings, node: Node, offset: int) -> None:
        self.scope = scope
        self.writer = writer
        self.findings = findings
        self.node = node
        self.offset = offset
        self._peeked: tuple[Tree, bool] | None = None

    @abstractmethod
    def emit(self, tree: Tree) -> Atom:
        """Write the code of `tree`; return the atom of its value."""

    @property
    def payload(self) -> Atom:
        """The payload; records that the code evaluates it."""
        self.writer.refer(self.scope.payload)
        return self.scope.payload

    def used(self, tree: Tree) -> Atom:
        """Write `tree`, whose value is used completely."""
        atom = self.emit(tree)
        self.writer.use(atom)
        return atom

    def emit_condition(self, tree: Tree) -> Atom:
        """Write `tree`, of which only the truth is used."""
        atom = self.peek(tree, only_truth=True)
        self.writer.use_truth(atom)
        return atom

    def tested(self, tree: Tree) -> Atom:
        """Write `tree`, whose truth is used here; its value may also be the result."""
        atom = self.emit(tree)
        self.writer.use_truth(atom)
        return atom

    def peek(self, tree: Tree, only_truth: bool = False) -> Atom:
        """Write `tree`, whose value is not retained: only its size and parts, or its truth, are used."""
        self._peeked = tree, only_truth
        return self.emit(tree)

    def release(self, atom: Atom, tree: Tree, rest: list[Tree]) -> None:
        """Write the line that precedes the use of a variable by the path `tree`, if one is needed; `rest` is
        the rest of the path."""
        peeked, self._peeked = self._peeked, None
        is_only_seen = peeked is not None and peeked[0] is tree
        enters_value = bool(rest) and rest[0]["type"] in _INSIDE
        if not atom.release or (atom.keeps_parts and (enters_value or (is_only_seen and not rest))):
            return
        if rest or not (is_only_seen and peeked is not None and peeked[1]):
            self.writer.line(atom.release)

    def under(self, payload: Atom, tree: Tree) -> Atom:
        """Write `tree` with another payload."""
        outer, self.scope = self.scope, self.scope.with_payload(payload)
        result = self.emit(tree)
        self.scope = outer
        return result

    def nested(self, tree: Tree, origin: Origin | None = None) -> str:
        """Write `tree` as a nested function of the payload, whose origin is `origin`; return its name."""
        name, parameter = self.writer.fresh("e"), self.writer.fresh("v")
        with self.writer.function(name, parameter):
            value = self.under(self.writer.item(Atom(parameter, origin=origin)), tree)
            self.writer.use(value)
            self.writer.embed(value)
            self.writer.line(f"return {value.source}")
        return name

    def own(self, atom: Atom, tree: Tree) -> str:
        """A name of the atom's value that may be assigned again; the atom's own name if it is not shared."""
        is_fresh = tree["type"] in ("function_expression", "or_expression", "and_expression")
        is_fresh = is_fresh and not atom.is_constant and atom.source not in self.writer.shared
        return atom.source if is_fresh else self.writer.let(atom.source).source

    def unless(self, tree: Tree, other: Tree, header: str) -> Atom | None:
        """Write `tree`, and `other`, a call of `fail()`, for the case that `header` is true.

        The result is always the value of `tree` and has its origin; the check alone does not count as reading
        it. Returns None and writes nothing if `other` is not such a call.
        """
        if other["type"] != "function_expression" or other["value"] != "fail":
            return None
        atom = self.emit(tree)
        self.writer.check(atom)
        with self.writer.block(header.format(name=atom.source, truth=truth(atom))):
            self.emit(other)
        return replace(atom, source=self.writer.let(atom.source).source, is_constant=False)

    def error(self, code: str, message: str, tree: Tree, length: int = 1, hint: str | None = None) -> Atom:
        """Record a finding; return an atom of any type, which causes no further finding."""
        self.findings.error(code, message, self.span(tree, length), hint)
        return self.writer.let("None")

    def span(self, tree: Tree, length: int = 1) -> Span:
        """The location of `tree` in the mapping's file."""
        return self.node.span_at(self.offset + tree.get("start", 0), length)


Form: TypeAlias = Callable[[BaseEmitter, Tree], Atom]
