"""What the code of every template is written with: the templates of its mapping, scope, writer and findings.

Contract: the files that write code (texts, contents, control) know one another's code only through `emit`
and `bind`. A sink says what to do with a value; what gives nothing never reaches it.
Must not know any directive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from engine.codegen import SHELL, Atom, Writer
from engine.errors import Findings
from engine.expressions import Scope
from engine.source import Node, Path, written
from engine.templates.coverage import Coverage

Sink = Callable[[Atom], None]


@dataclass(slots=True)
class TemplateSet:
    """The templates of one mapping.

    Attributes:
        findings: receives what is wrong with them.
        named: the mapping's `templates:`.
        file: the mapping's file, for the names of generated functions.
        coverage: given while testing.
        names: what generated code may refer to beside the support functions.
        used: the names of those of `named` that have been used.
    """

    findings: Findings
    named: Mapping[str, Node] = field(default_factory=dict)
    file: str = ""
    coverage: Coverage | None = None
    names: dict[str, Any] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)


class BaseTemplateWriter(ABC):
    """Writes the code of one template.

    Args:
        templates: those of its mapping.
        writer: receives the code.
        scope: what the template sees.
    """

    def __init__(self, templates: TemplateSet, writer: Writer, scope: Scope) -> None:
        self.templates = templates
        self.findings = templates.findings
        self.writer = writer
        self.scope = scope
        self.language = scope.variables
        self.open_templates: list[str] = []

    @abstractmethod
    def emit(self, node: Node, sink: Sink) -> None:
        """Write code that computes `node` and hands the value to `sink`, unless there is none."""

    @abstractmethod
    def bind(self, node: Node) -> Atom:
        """A template's value under a name, null where it gives nothing."""

    @contextmanager
    def noting_nulls(self) -> Iterator[set[Path]]:
        """The fields of the client's body that code written inside reads."""
        outer, self.writer.reads = self.writer.reads, set()
        yield (inner := self.writer.reads)
        self.writer.reads = outer | inner

    def note_null(self, atom: Atom, read: set[Path]) -> None:
        """Write what notes a null of the client's where `atom`, for which the fields are read, is null."""
        if not self.scope.notes_nulls or atom.is_constant:
            return
        paths = [path[:-1] if path[-1:] == (SHELL,) else path for path in (*read, atom.origin or ())]
        fields = {path[:end] for path in paths for end in range(1, len(path) + 1)}
        if fields:
            with self.writer.block(f"if {atom.source} is None"):
                for path in sorted(fields, key=repr):
                    self.writer.line(f"x.drop_null({written(path)!r}, {path!r})")

    @contextmanager
    def within(self, scope: Scope) -> Iterator[None]:
        """Code written inside sees `scope`."""
        outer, self.scope = self.scope, scope
        yield
        self.scope = outer

    def into(self, before: str, after: str = "") -> Sink:
        """A sink that uses the value as a whole, in a line with `before` and `after` around it."""

        def use(atom: Atom) -> None:
            self.writer.use(atom)
            self.writer.line(f"{before}{atom.source}{after}")

        return use

    def hit(self, node: Node, label: str) -> None:
        """Write the line that counts a branch, where coverage is asked for."""
        if self.templates.coverage is not None:
            self.writer.line(f"hits[{self.templates.coverage.branch(node, label)}] += 1")
