"""One template → one Python function.

Contract: a function is `(payload, context) → value`, or `ABSENT`. Errors are findings, and the function then
returns `ABSENT`.
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

#: Records how each result of a function is used.
Seen: TypeAlias = Callable[[Writer, Atom], None]


@dataclass(slots=True)
class TemplateCompiler(TemplateSet):
    """Compiles the templates of one mapping."""

    def compile(self, node: Node, scope: Scope, label: str, seen: Seen = Writer.use) -> Compiled:
        """Compile one template to one function; errors are findings, and the function then returns `ABSENT`.

        `seen` records how each result is used: completely by default.
        """

        def write(writer: Writer) -> None:
            TemplateWriter(self, writer, scope).emit(node, lambda atom: _return(writer, atom, seen))
            writer.line("return ABSENT")

        return self.write(node, label, write)

    def write(self, node: Node, label: str, write: Callable[[Writer], None]) -> Compiled:
        """Compile a function whose code `write` writes; findings about all of it are located at `node`."""
        compiled = self.write_if_possible(label, write)
        if compiled is None:
            self.findings.error("too-deep", "nested too deeply, or too large when compiled", node.span)
            return Compiled(lambda p, x: ABSENT, "")
        return compiled

    def write_if_possible(self, label: str, write: Callable[[Writer], None]) -> Compiled | None:
        """As `write`; None if the code is nested too deeply, or too large."""
        writer = Writer({**NAMES, **self.names})
        if self.coverage is not None:
            writer.names["hits"] = self.coverage.counts
        try:
            write(writer)
            return writer.finish(f"{self.file}: {label}")
        except (TooLarge, RecursionError):
            return None


def _return(writer: Writer, atom: Atom, seen: Seen) -> None:
    seen(writer, atom)
    writer.line(f"return {atom.source}")
