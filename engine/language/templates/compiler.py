"""One template → one Python function.

Contract: a function is `(payload, context) → value`, or `ABSENT`. What is wrong becomes findings, and then
the function gives nothing.
Must not know how a template's code is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from engine.language.codegen import Atom, Compiled, TooLarge, Writer
from engine.language.expressions import Scope
from engine.language.templates.base import TemplateSet
from engine.language.templates.support import NAMES
from engine.language.templates.writer import TemplateWriter
from engine.locations import Node
from engine.values import ABSENT

#: What is recorded of each value that a function gives.
Seen: TypeAlias = Callable[[Writer, Atom], None]


@dataclass(slots=True)
class TemplateCompiler(TemplateSet):
    """Compiles the templates of one mapping."""

    def compile(self, node: Node, scope: Scope, label: str, seen: Seen = Writer.use) -> Compiled:
        """One template → one function. What is wrong becomes findings, and the function gives nothing.

        `seen` records how each value that it gives is used: as a whole, unless it says otherwise.
        """

        def write(writer: Writer) -> None:
            TemplateWriter(self, writer, scope).emit(node, lambda atom: _return(writer, atom, seen))
            writer.line("return ABSENT")

        return self.write(node, label, write)

    def write(self, node: Node, label: str, write: Callable[[Writer], None]) -> Compiled:
        """A function whose code `write` writes; `node` is where what concerns all of it is found."""
        writer = Writer({**NAMES, **self.names})
        if self.coverage is not None:
            writer.names["hits"] = self.coverage.counts
        try:
            write(writer)
            return writer.finish(f"{self.file}: {label}")
        except (TooLarge, RecursionError):
            self.findings.error("too-deep", "this is nested too deeply, or grows too large", node.span)
            return Compiled(lambda p, x: ABSENT, "")


def _return(writer: Writer, atom: Atom, seen: Seen) -> None:
    seen(writer, atom)
    writer.line(f"return {atom.source}")
